"""The schema's history: one dated file per change, applied by `bandshift db upgrade`."""
