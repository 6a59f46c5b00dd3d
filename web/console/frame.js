// What stands around every page: where one is, the search box, who is signed in.

import { button, fill, find, h } from './dom.js';
import { zone } from './format.js';
import { go, to } from './router.js';
import { session } from './session.js';
import { T } from './texts.js';
import { search } from './pages/find.js';

/** In the order of the navigation. Money (payouts into the books) will stand before the log: it has a word already. */
const PAGES = [
  ['today', () => to()],
  ['look', () => to('look')],
  ['subscriptions', () => to('subscriptions')],
  ['log', () => to('log')],
];

/** Builds the frame for who is signed in, or for nobody. */
export function showFrame({ signOut }) {
  const { me, config } = session;
  find('skip').textContent = T.skip;
  const brand = h('a', { class: 'brand', href: to() }, h('img', { src: '/console/mark.svg', alt: '', width: 28, height: 28 }), T.product);
  const badge = config && h('span', { class: 'environment', data: { environment: config.environment } }, T.environment[config.environment] ?? config.environment);
  fill(find('colophon'), T.footer(zone()), me && ` ${T.slash} ${T.signedIn(me.user_id, roleWords(me))}`);
  if (!me) {
    fill(find('masthead'), h('p', { class: 'mark' }, brand, badge));
    return;
  }
  const links = PAGES.map(([page, address]) => h('li', {}, h('a', { href: address(), data: { page } }, T.pages[page])));
  fill(
    find('masthead'),
    h('p', { class: 'mark' }, brand, badge),
    h('nav', { id: 'navigation', 'aria-label': T.navigation }, h('ul', {}, links)),
    searchBox(),
    h('div', { class: 'who' }, h('p', { title: T.session.signedInAs(me.user_id) }, h('span', { class: 'user' }, me.user_id), h('span', { class: 'roles' }, roleWords(me))), button(T.session.signOut, signOut, { class: 'plain small' })),
  );
}

const roleWords = ({ roles }) => roles.map((role) => T.roles[role] ?? role).join(', ');

function searchBox() {
  const input = h('input', {
    type: 'search',
    id: 'search',
    'aria-label': T.search.label,
    placeholder: T.search.placeholder,
    autocomplete: 'off',
    autocapitalize: 'off',
    spellcheck: 'false',
    maxlength: 255,
    'aria-keyshortcuts': '/',
  });
  const submit = (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) {
      go(to('find'));
      return;
    }
    // The words stay in memory: they are in no address, no history and no storage.
    search(text);
  };
  return h('form', { class: 'search', role: 'search', 'aria-label': T.search.label, novalidate: true, on: { submit } }, h('div', { class: 'box' }, input, h('kbd', { 'aria-hidden': 'true' }, '/')), h('button', { type: 'submit', class: 'plain' }, T.search.go));
}

/** `/` goes to the search box, unless something is being written. */
export function listen() {
  document.addEventListener('keydown', (event) => {
    if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest('input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]')) return;
    const box = find('search');
    if (!box || document.querySelector('dialog[open]')) return;
    event.preventDefault();
    box.focus();
    box.select();
  });
  // What was searched for stays only where its results are.
  addEventListener('console:page', ({ detail }) => {
    const box = find('search');
    if (box && detail !== 'find') box.value = '';
  });
  find('skip').addEventListener('click', (event) => {
    event.preventDefault();
    find('main').focus();
  });
}
