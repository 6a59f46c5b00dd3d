// Sign-in by OpenID Connect: authorization code with PKCE. Tokens stay in memory; what must outlive the way through the
// login (state, nonce, verifier) is in sessionStorage for just that long.

import * as oauth from './vendor/oauth4webapi/index.js';
import { ROOT } from './router.js';
import { T } from './texts.js';

const UNDER_WAY = 'dues.console.login';
/** Longer than anybody needs at a login. */
const OLDEST_MS = 30 * 60_000;

/** Where the login sends the browser back to, the console's own address: it is registered there. */
const RETURN = new URL(ROOT, location.origin).href;

/** Why a sign-in did not work, in plain words. */
class LoginTrouble extends Error {
  constructor(code) {
    const [cause, todo] = T.session.errors[code] ?? [T.session.failed, T.tryAgain];
    super(cause);
    Object.assign(this, { code, cause, todo });
  }
}

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]']);

/** Plain http only to this very machine. */
const insecure = (config) => ({ [oauth.allowInsecureRequests]: LOOPBACK.has(new URL(config.issuer).hostname) });

let found;

async function discover(config) {
  found ??= (async () => {
    const issuer = new URL(config.issuer);
    const response = await reach(oauth.discoveryRequest(issuer, { ...insecure(config), algorithm: 'oidc' }));
    return oauth.processDiscoveryResponse(issuer, response);
  })();
  try {
    return await found;
  } catch (error) {
    found = undefined;
    throw error instanceof LoginTrouble ? error : new LoginTrouble('unreachable');
  }
}

async function reach(request) {
  try {
    return await request;
  } catch (error) {
    // The browser tells a network failure by a TypeError; the library's own have a code.
    if (error instanceof TypeError && !error.code) throw new LoginTrouble('unreachable');
    throw error;
  }
}

const client = (config) => ({ client_id: config.client_id });

/** Sends the browser to the login; it comes back to `RETURN`, and from there to where it was. Never resolves. */
export async function leave(config, back) {
  const server = await discover(config);
  const [state, nonce, verifier] = [oauth.generateRandomState(), oauth.generateRandomNonce(), oauth.generateRandomCodeVerifier()];
  sessionStorage.setItem(UNDER_WAY, JSON.stringify({ state, nonce, verifier, back, at: Date.now() }));
  const address = new URL(server.authorization_endpoint);
  const asked = {
    client_id: config.client_id,
    redirect_uri: RETURN,
    response_type: 'code',
    scope: config.scope,
    state,
    nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  };
  if (config.audience) asked.resource = config.audience;
  for (const [name, value] of Object.entries(asked)) address.searchParams.set(name, value);
  location.assign(address);
  return new Promise(() => {});
}

/** Whether the browser has just come back from the login. */
export function isBack() {
  const answer = new URLSearchParams(location.search);
  return location.pathname === ROOT && answer.has('state') && (answer.has('code') || answer.has('error'));
}

/** What the login gave, `{ access, refresh, id }`, and where the browser was before. */
export async function finish(config) {
  const stored = sessionStorage.getItem(UNDER_WAY);
  sessionStorage.removeItem(UNDER_WAY);
  const came = new URL(location.href);
  // The code is good for one use, and belongs into no history.
  history.replaceState(null, '', ROOT);
  const { state, nonce, verifier, back = ROOT, at = 0 } = stored ? JSON.parse(stored) : {};
  if (!state || Date.now() - at > OLDEST_MS) throw new LoginTrouble('not_begun');
  const server = await discover(config);
  try {
    // Checks `state`, and `iss` where the login names it.
    const answer = oauth.validateAuthResponse(server, client(config), came, state);
    const extra = config.audience ? { resource: config.audience } : {};
    const options = { ...insecure(config), additionalParameters: extra };
    const request = oauth.authorizationCodeGrantRequest(server, client(config), oauth.None(), answer, RETURN, verifier, options);
    const response = await reach(request);
    // Checks `iss`, `aud` and `nonce` of the identity.
    const checks = { expectedNonce: nonce, requireIdToken: true };
    return { tokens: taken(await oauth.processAuthorizationCodeResponse(server, client(config), response, checks)), back };
  } catch (error) {
    throw trouble(error, back);
  }
}

/** Another access token without the login's page, where it gave us the means; else null. */
export async function refresh(config, { refresh: token, id }) {
  if (!token) return null;
  try {
    const server = await discover(config);
    const extra = config.audience ? { resource: config.audience } : {};
    const options = { ...insecure(config), additionalParameters: extra };
    const response = await reach(oauth.refreshTokenGrantRequest(server, client(config), oauth.None(), token, options));
    const answer = taken(await oauth.processRefreshTokenResponse(server, client(config), response));
    return { ...answer, refresh: answer.refresh ?? token, id: answer.id ?? id };
  } catch {
    return null;
  }
}

/** Where to sign out at the login too, if it has such a page; what it gave us to renew is withdrawn. */
export async function end(config, { refresh: token, id } = {}) {
  try {
    const server = await discover(config);
    if (token && server.revocation_endpoint) {
      await oauth.revocationRequest(server, client(config), oauth.None(), token, insecure(config)).catch(() => null);
    }
    if (!server.end_session_endpoint) return null;
    const address = new URL(server.end_session_endpoint);
    address.searchParams.set('client_id', config.client_id);
    if (id) address.searchParams.set('id_token_hint', id);
    return address.href;
  } catch {
    return null;
  }
}

const taken = (answer) => ({ access: answer.access_token, refresh: answer.refresh_token ?? null, id: answer.id_token ?? null });

function trouble(error, back) {
  let made = error;
  if (!(error instanceof LoginTrouble)) {
    // What the login says for itself is not shown: whoever makes a link could write it.
    const isAnswer = error instanceof oauth.AuthorizationResponseError || error instanceof oauth.ResponseBodyError;
    made = new LoginTrouble(isAnswer ? error.error : 'not_fitting');
  }
  return Object.assign(made, { back });
}
