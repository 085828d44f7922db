"""The manifests and source repositories as local bare mirrors."""
