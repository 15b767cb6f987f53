"""Pictures of what was measured, as SVG and HTML that need nothing else: no plotting library, no network."""
