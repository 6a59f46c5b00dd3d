// The beginning: who is there, which page is asked for, and the form that was open before the login.

import { loadPlans } from './api.js';
import { announce, fill, find, h } from './dom.js';
import { listen, showFrame } from './frame.js';
import { ROOT, go, here, setRoutes, start as startRouter } from './router.js';
import { onChange, enter, session, signIn, signOut, start } from './session.js';
import { showSignIn } from './signin.js';
import { LANGUAGE, PROBLEMS, T } from './texts.js';
import event from './pages/event.js';
import finder from './pages/find.js';
import list from './pages/list.js';
import log from './pages/log.js';
import look from './pages/look.js';
import member from './pages/member.js';
import subscription from './pages/subscription.js';
import today from './pages/today.js';

setRoutes([
  ['', today],
  ['find', finder],
  ['member', member],
  ['subscriptions', list],
  ['subscriptions/:id', subscription],
  ['look', look],
  ['look/:tab', look],
  ['events/:id', event],
  ['log', log],
]);

let isRunning = false;
/** Names of plans are a comfort: whoever waits for them waits for a second at most. Nobody need be signed in for them. */
const plans = Promise.race([loadPlans().catch(() => null), new Promise((done) => setTimeout(done, 1000))]);

function signInPage(more = {}) {
  const { config, hasNoRole } = session;
  const take = async (token) => {
    await enter({ access: token });
    await run(here(), { isFirst: false });
  };
  showSignIn({ config, hasNoRole, enter: take, signIn, signOut: leave, ...more });
}

async function leave() {
  const there = await signOut();
  signInPage({ there });
}

/** Shows the page at which the reader wanted to be, once somebody is signed in. */
async function run(back, { isFirst = true } = {}) {
  if (!session.me) {
    signInPage();
    return;
  }
  await plans;
  if (back && back !== here()) history.replaceState(null, '', back);
  if (isRunning) await go(here(), { replace: true });
  else {
    isRunning = true;
    await startRouter({ isFirst });
  }
}

function complain(problem) {
  const words = { no_config: [T.session.noConfig, T.session.noConfigTodo] };
  const [cause, todo] = words[problem.code] ?? [problem.cause ?? PROBLEMS.unknown[0], problem.todo ?? PROBLEMS.unknown[1]];
  signInPage({ trouble: { cause, todo } });
  // Where she wanted to go is where she goes once it works.
  if (problem.back) history.replaceState(null, '', problem.back);
}

async function begin() {
  document.documentElement.lang = LANGUAGE;
  fill(find('main'), h('p', { class: 'waiting', role: 'status' }, T.oneMoment));
  listen();
  onChange(() => showFrame({ signOut: leave }));
  showFrame({ signOut: leave });
  addEventListener('console:other-person', () => {
    document.querySelectorAll('dialog[open]').forEach((dialog) => dialog.close());
    announce(T.session.otherPerson);
    go(ROOT);
  });
  try {
    const back = await start();
    showFrame({ signOut: leave });
    await run(back);
  } catch (problem) {
    showFrame({ signOut: leave });
    complain(problem);
  }
}

begin();
