// From the address to a page. Addresses are real paths below the console's own; the server answers index.html for each.

import { find, h, fill } from './dom.js';
import { T } from './texts.js';

/** The path at which the console stands, such as `/console/`. */
export const ROOT = new URL('./', import.meta.url).pathname;

let routes = [];
let leave = new AbortController();
/** Where the reader was on pages that she may go back to, by the key of the history's entry. Lost with the tab. */
const places = new Map();
/** What was done, for the next page that is shown to tell. */
let pending = null;

/** A route: `[pattern, page]`, where `:name` in the pattern is one part of the path. */
export function setRoutes(all) {
  routes = all.map(([pattern, page]) => {
    const words = pattern.replace(/:(\w+)/g, '(?<$1>[^/]+)');
    return { pattern: new RegExp(`^${words}$`), page };
  });
}

/** The address of a page: `to('subscriptions', id)`, with a query as an object at the end if there is one. */
export function to(...parts) {
  const query = typeof parts.at(-1) === 'object' ? parts.pop() : {};
  const given = Object.entries(query).filter(([, value]) => value != null && value !== '');
  const search = given.length ? `?${new URLSearchParams(given)}` : '';
  return ROOT + parts.map(encodeURIComponent).join('/') + search;
}

/** The page of a member: her id may hold anything, points and slashes too, so it is no part of the path. */
export const toMember = (user) => to('member', { id: user });

/** Goes to a page of the console. */
export function go(address, { replace = false, isQuiet = false } = {}) {
  if (!replace) remember();
  const state = { key: crypto.randomUUID() };
  history[replace ? 'replaceState' : 'pushState'](state, '', address);
  return show({ isQuiet });
}

/** Tells on the page that is shown next what was done. */
export function tellNext(content) {
  pending = content;
}

/** Where the browser is now, below the console. */
export const here = () => location.pathname + location.search;

/** Shows the page of the address again. */
export const reload = () => show({ isQuiet: true, keepsPlace: true });

function remember() {
  if (history.state?.key) places.set(history.state.key, scrollY);
}

async function show({ isQuiet = false, isBack = false, isFirst = false, keepsPlace = false } = {}) {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const path = location.pathname.slice(ROOT.length).replace(/\/$/, '');
  const [page, params] = match(path);
  const main = find('main');
  const place = {
    params,
    query: new URLSearchParams(location.search),
    signal,
    main,
    isQuiet,
    /** Begins the page anew: its title, and all that is on it. */
    begin(title, ...content) {
      if (signal.aborted) return;
      const head = h('h1', { tabindex: '-1' }, title);
      document.title = T.title(title);
      if (content[0]?.dataset?.under === 'title') fill(main, h('div', { class: 'title' }, head, content.shift()), content);
      else fill(main, head, content);
      if (pending) {
        const banner = h('p', { class: 'done', id: 'done', tabindex: '-1', role: 'status' }, pending);
        pending = null;
        (head.parentElement === main ? head : head.parentElement).after(banner);
        banner.focus({ preventScroll: true });
        scrollTo(0, 0);
        return;
      }
      // Whoever follows a link begins at the new page's title; who has just opened the console, wherever she likes.
      if (!isFirst && !isQuiet) head.focus({ preventScroll: true });
      if (!keepsPlace && !isBack && !isQuiet) scrollTo(0, 0);
    },
    /** Takes another title, once it is known. */
    title(text) {
      document.title = T.title(text);
      const head = main.querySelector('h1');
      if (head) head.textContent = text;
    },
  };
  markNavigation(path, page);
  dispatchEvent(new CustomEvent('console:page', { detail: page.name }));
  await page.show(place);
  if (isBack && !signal.aborted) scrollTo(0, places.get(history.state?.key) ?? 0);
}

function match(path) {
  for (const { pattern, page } of routes) {
    const found = path.match(pattern);
    if (found) {
      try {
        const params = Object.entries(found.groups ?? {}).map(([name, value]) => [name, decodeURIComponent(value)]);
        return [page, Object.fromEntries(params)];
      } catch {
        // What can't be decoded is no address of ours.
      }
    }
  }
  return [missing, {}];
}

const missing = {
  show: (place) => place.begin(T.notFound.title, h('p', {}, T.notFound.what), h('p', {}, T.notFound.todo)),
};

function markNavigation(path, page) {
  for (const link of document.querySelectorAll('#navigation a')) {
    const isHere = link.dataset.page === page.name;
    if (isHere) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

/** Listens to links of the console, and to the browser's own buttons; `isFirst` if nothing was on the screen before. */
export function start({ isFirst }) {
  document.addEventListener('click', (event) => {
    const link = event.target.closest?.('a[href]');
    const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !isPlain || event.defaultPrevented || link.target || link.hasAttribute('download')) return;
    const address = new URL(link.href);
    if (address.origin !== location.origin || !address.pathname.startsWith(ROOT)) return;
    // A place on this page.
    if (address.hash && address.pathname + address.search === here()) return;
    event.preventDefault();
    go(address.pathname + address.search);
  });
  addEventListener('popstate', () => show({ isBack: true }));
  history.scrollRestoration = 'manual';
  return show({ isFirst });
}
