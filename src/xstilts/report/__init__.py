"""Reports: sections of tables and figures made from stored scores, as HTML, LaTeX and Markdown.

material = Material(list(store.cells()), load_suite("xtreme"))    # xstilts.report.material
report = build(material)                                          # xstilts.report.build
write_html(report, Path("report.html"))                           # xstilts.report.html
"""
