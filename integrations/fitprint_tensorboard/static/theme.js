// TensorBoard's own theme where it can be seen, else the system's.

export function followTheme() {
  const outside = parentBody();
  if (outside === null) return;
  const apply = () => {
    document.documentElement.dataset.theme = outside.classList.contains("dark-mode") ? "dark" : "light";
  };
  apply();
  new MutationObserver(apply).observe(outside, { attributes: true, attributeFilter: ["class"] });
}

function parentBody() {
  try {
    return window.parent === window ? null : window.parent.document.body;
  } catch {
    return null; // embedded from another origin, as notebooks do
  }
}
