"""Configuration: typed specs, the layers that decide a setting, folders and registries."""
