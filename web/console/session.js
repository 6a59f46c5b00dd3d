// Who is signed in: the token in memory, what she may do, and what happens when it ends in the middle of something.

import { Problem, get, isGone, setAuthority } from './api.js';
import * as oidc from './oidc.js';
import { ROOT, here } from './router.js';
import { askAgain } from './signin.js';

/** Says that this tab was signed in, so that a reload goes through the login without a question. Nothing secret. */
const WAS_HERE = 'dues.console.was-here';
/** The form that was open when the browser left for the login: no secrets, no names. */
const FORM = 'dues.console.form';
/** Who comes back from the login later than that has begun something else. */
const OLDEST_FORM_MS = 30 * 60_000;

export const session = {
  config: null,
  /** What the service says of her: `{ user_id, roles, may, reasons }`. */
  me: null,
  /** Whether the service knows her, but she has no role. */
  hasNoRole: false,
};

let tokens = null;
let renewing = null;
/** Asked for its state when the browser must leave with a form open. */
let keeper = () => null;
const listeners = [];

/** Told whenever somebody has signed in or out. */
export const onChange = (listener) => listeners.push(listener);
const tell = () => listeners.forEach((listener) => listener());

setAuthority({ token: () => tokens?.access ?? null, renew });

/** Finds out how to sign in, and who is. Throws a LoginTrouble or Problem. */
export async function start() {
  const response = await fetch(new URL('config.json', new URL(ROOT, location.origin))).catch(() => null);
  if (!response?.ok) throw new Problem('no_config');
  session.config = await response.json();
  const handed = handedToken();
  if (handed) {
    await enter({ access: handed });
    return ROOT;
  }
  if (!session.config.issuer) return here();
  if (oidc.isBack()) {
    const { tokens: given, back } = await oidc.finish(session.config);
    await enter(given);
    return back;
  }
  if (sessionStorage.getItem(WAS_HERE)) {
    sessionStorage.removeItem(WAS_HERE);
    await oidc.leave(session.config, here());
  }
  return here();
}

/** In development alone: a token in the address's fragment, which reaches no server, and is taken out at once. */
function handedToken() {
  const { environment, token_login: takesTokens } = session.config;
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (!token) return null;
  history.replaceState(null, '', here());
  return environment === 'development' && takesTokens ? token : null;
}

/** Takes these tokens, if the service does. */
export async function enter(given) {
  const before = tokens;
  tokens = given;
  try {
    session.me = await get('/me', { isFirst: true });
    session.hasNoRole = false;
  } catch (problem) {
    if (problem.status === 403) {
      session.me = null;
      session.hasNoRole = true;
    } else {
      tokens = before;
      throw problem;
    }
  }
  // Only a login knows her after a reload.
  if (given.id) sessionStorage.setItem(WAS_HERE, '1');
  tell();
}

/** To the login, and back to this page. */
export const signIn = (back = here()) => oidc.leave(session.config, back);

/** Forgets who is signed in; gives the address at which to sign out of the login too, if there is one. */
export async function signOut() {
  const had = tokens;
  tokens = null;
  session.me = null;
  session.hasNoRole = false;
  sessionStorage.removeItem(WAS_HERE);
  sessionStorage.removeItem(FORM);
  tell();
  return session.config.issuer && had ? oidc.end(session.config, had) : null;
}

/** Another token, whatever it takes; all who wait for one wait for the same. */
function renew(problem) {
  renewing ??= again(problem).finally(() => {
    renewing = null;
  });
  return renewing;
}

async function again(problem) {
  const before = session.me?.user_id;
  const fresh = session.config.issuer && tokens ? await oidc.refresh(session.config, tokens) : null;
  if (fresh) {
    await enter(fresh);
  } else {
    const isSignedIn = await askAgain({
      takesToken: session.config.token_login,
      hasLogin: Boolean(session.config.issuer),
      enter: (token) => enter({ access: token }),
      leave: () => {
        keepForm();
        return signIn();
      },
    });
    if (!isSignedIn) throw problem;
  }
  if (before && session.me?.user_id !== before) dispatchEvent(new CustomEvent('console:other-person'));
}

/** Tells what the open form holds, for the way through the login; null when none is open. */
export function setKeeper(tells) {
  keeper = tells;
}

function keepForm() {
  const form = keeper();
  if (form) sessionStorage.setItem(FORM, JSON.stringify({ ...form, user: session.me?.user_id, page: here(), at: Date.now() }));
}

/** The form that was kept for this page and person, once. */
export function keptForm() {
  const stored = sessionStorage.getItem(FORM);
  if (!stored || !session.me) return null;
  const form = JSON.parse(stored);
  const isOld = Date.now() - form.at > OLDEST_FORM_MS;
  if (form.page !== here() && !isOld) return null;
  sessionStorage.removeItem(FORM);
  return form.user === session.me.user_id && !isOld ? form : null;
}

/** Whether she may do such an act: `act` on a member, or move `money`. */
export function may(what) {
  const rights = session.me?.may ?? {};
  return Boolean(rights.all || rights[what]);
}

export { isGone };
