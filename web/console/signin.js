// The page and the dialog at which one signs in.

import { button, field, fill, find, h, working } from './dom.js';
import { T } from './texts.js';

const S = T.session;

/** A place to paste a token; `enter(token)` throws if the service does not take it. */
function tokenForm(enter, done) {
  const token = field(S.token, h('textarea', { rows: 4, spellcheck: 'false', autocomplete: 'off', class: 'token' }), { hint: S.tokenHint });
  const go = h('button', { type: 'submit' }, S.tokenGo);
  const submit = async (event) => {
    event.preventDefault();
    const pasted = token.input.value.trim();
    token.told(pasted ? '' : S.tokenMissing);
    if (!pasted) {
      token.input.focus();
      return;
    }
    await working(go, async () => {
      try {
        await enter(pasted);
        token.input.value = '';
        done?.();
      } catch (problem) {
        token.told(problem.status === 401 ? S.tokenRefused : [problem.cause, problem.todo].filter(Boolean).join(' '));
        token.input.focus();
      }
    });
  };
  return h('form', { novalidate: true, on: { submit } }, token.element, h('p', { class: 'actions' }, go));
}

/**
 * Asks to sign in again, over whatever is open, which stays as it is. True once somebody is signed in; through the login
 * the browser leaves, and nothing is answered any more.
 */
export function askAgain({ takesToken, hasLogin, enter, leave }) {
  return new Promise((answer) => {
    const dialog = h('dialog', { class: 'narrow', 'aria-labelledby': 'again-title' });
    const end = (isSignedIn) => {
      dialog.close();
      dialog.remove();
      answer(isSignedIn);
    };
    const trouble = h('p', { class: 'notice', role: 'alert', hidden: true });
    const again = button(S.again, () => working(again, async () => {
      try {
        await leave();
      } catch (problem) {
        fill(trouble, problem.cause, ' ', problem.todo).hidden = false;
      }
    }));
    const notNow = button(S.notNow, () => end(false), { class: 'plain' });
    fill(
      dialog,
      h('h2', { id: 'again-title' }, S.expiredTitle),
      h('p', {}, S.expired),
      trouble,
      hasLogin && h('p', { class: 'actions' }, again, !takesToken && notNow),
      takesToken && tokenForm(enter, () => end(true)),
      takesToken && h('p', { class: 'actions' }, notNow),
    );
    dialog.addEventListener('cancel', (event) => {
      event.preventDefault();
      end(false);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** The page of those who are not signed in; `trouble` is why it did not work, if it was tried. */
export function showSignIn({ config, enter, signIn, signOut, trouble, hasNoRole, there }) {
  const main = find('main');
  const head = h('h1', { tabindex: '-1' }, S.title);
  document.title = T.title(S.title);
  const notice = h('div', { class: 'notice', role: 'alert', hidden: !trouble });
  if (trouble) fill(notice, h('p', {}, h('strong', {}, trouble.cause)), trouble.todo && h('p', {}, trouble.todo));
  const complain = (problem) => {
    fill(notice, h('p', {}, h('strong', {}, problem.cause)), h('p', {}, problem.todo));
    notice.hidden = false;
  };
  const toLogin = button(S.withLogin, () => working(toLogin, () => signIn().catch(complain)));
  const parts = [];
  if (there !== undefined) {
    parts.push(h('p', { role: 'status' }, S.signedOut, there && ` ${S.signedOutThere} `, there && h('a', { href: there }, S.signOutThere)));
  }
  if (hasNoRole) parts.push(h('div', { class: 'notice', role: 'alert' }, h('p', {}, h('strong', {}, S.noRole)), h('p', {}, S.noRoleTodo)), h('p', { class: 'actions' }, button(S.signOut, signOut, { class: 'plain' })));
  else parts.push(h('p', { class: 'lead' }, S.about));
  if (config?.issuer && !hasNoRole) parts.push(h('p', { class: 'actions' }, toLogin));
  if (config?.token_login && !hasNoRole) parts.push(tokenForm(enter));
  if (config && !config.issuer && !config.token_login) parts.push(h('p', {}, S.noWay, ' ', S.noWayTodo));
  fill(main, h('div', { class: 'signin' }, head, notice, parts));
}
