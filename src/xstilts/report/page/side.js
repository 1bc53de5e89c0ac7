// The list beside the page is always open where there is room for it, and a menu where there is not.
{
  const side = document.querySelector(".side");
  const wide = window.matchMedia("(min-width: 72rem)");
  const fit = () => { side.open = wide.matches; };
  wide.addEventListener("change", fit);
  fit();
  side.addEventListener("click", (event) => {
    if (event.target.closest("a") && !wide.matches) side.open = false;
  });
}
