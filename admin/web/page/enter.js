// The entrance: it exchanges the token of the link, which is behind # and good for one use, for the
// cookie of the page.
const token = location.hash.slice(1);
const at = (id) => document.getElementById(id);
let kept = "";
try {
  kept = localStorage.getItem("page") ?? "";
} catch { /* this browser keeps nothing */ }

function refuse(title, text) {
  document.title = `${title} - roomd admin`;
  at("title").textContent = title;
  at("text").textContent = text;
  at("more").hidden = false;
  if (/^\/\w+\/$/.test(kept) && location.pathname === "/") {
    at("there").href = kept;
    at("back").hidden = false;
  }
}

async function enter() {
  // The token must not stay in the address bar or in the history.
  history.replaceState(null, "", location.pathname);
  const answer = await fetch("/session", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }) });
  if (!answer.ok) {
    refuse("This link was used already", "A link is good for one use, so that nobody else can come in by it.");
    return;
  }
  const { path } = await answer.json();
  try {
    localStorage.setItem("page", path);
  } catch { /* this browser keeps nothing */ }
  location.replace(path);
}

if (location.pathname !== "/") refuse("This browser has no access", "The operator's page opens only in the browser that has used its link.");
else if (!token) refuse("The link is needed", "This is the operator's page of a roomd server. It opens by a link that is good for one use.");
else enter().catch(() => refuse("The page has ended", "The process that serves it does not answer."));
