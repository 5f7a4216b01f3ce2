"""How the page looks, and the one thing that the browser does by itself."""

CSS = """
.gradio-container { width: 100%; max-width: 1200px !important; margin: 0 auto; }
#editor > label {
  display: block; max-width: calc(100% - 180px);
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
}
#editor > label > span { display: inline-block; vertical-align: middle; }
.line p { margin: 0; padding: 2px 0; }
.line .error { color: var(--error-text-color); font-weight: 600; }
#fills .grid-wrap { height: auto; min-height: 0; max-height: none; overflow: visible; }
#fills .grid-container { grid-template-columns: repeat(auto-fill, minmax(min(260px, 42%), 1fr)); }
#fills .thumbnail-item { aspect-ratio: auto; height: auto; }
#fills .thumbnail-item img { aspect-ratio: 1; height: auto; }
#fills .caption-label {
  position: static; max-width: none; border: 0; border-radius: 0; padding: 4px 6px;
  font-size: var(--text-sm); text-align: left; white-space: normal; overflow-wrap: anywhere;
}
@media (max-width: 640px) { #editor { height: 400px !important; } }
"""
"""What gradio leaves to mend."""

DOWNLOAD = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name || "";
  document.body.appendChild(link);
  link.click();
  link.remove();
}"""
"""Hands a file of the page's own to the browser as a download."""
