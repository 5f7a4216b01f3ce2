"""The page on which people fill their own pictures: `gapfill demo`.

`tools` prepares models, `work` fills, and knows no browser; `layout` is what stands where, in
gradio; `serving` starts it.
"""
