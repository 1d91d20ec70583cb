// The kept theme, before the first paint. This is no module, as those run after it.
"use strict";
try {
  const base = new URL(document.baseURI).pathname;
  const theme = JSON.parse(localStorage.getItem(`roomd:${base}:theme`));
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* a browser that keeps nothing has the system's theme */ }
