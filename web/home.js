// The membership page: what is hers, what is offered, and the way to pay.

import { call } from './api.js';
import { find, frame, notify } from './page.js';
import { OWING, act, begin, showOwn } from './own.js';
import { holds, showShop } from './shop.js';

/** What was done on the payment service's own pages arrives in a moment: milliseconds after which to look again. */
const LOOK_AGAIN = [1000, 3000, 8000];

let plans = [];
let last;

async function mine() {
  const { data } = await call('GET', '/v1/subscriptions?limit=100');
  return data;
}

/** What she holds, and what its plan says of it. */
function withPlans(held) {
  return held.map((one) => {
    const plan = plans.find(({ code }) => code === one.plan);
    return {
      ...one,
      renews: plan ? Boolean(plan.price.recurring) : Boolean(one.current_period_end),
      single: plan?.single ?? false,
      group: plan?.upgrade_group ?? null,
    };
  });
}

async function show() {
  notify(null);
  // One may be there without the other: what is hers is hers while nothing can be sold.
  const [catalogue, held] = await Promise.allSettled([call('GET', '/v1/plans', { anonymous: true }), mine()]);
  plans = catalogue.value?.data ?? [];
  if (held.value) showOwn(plans, withPlans(held.value), holds);
  last = JSON.stringify(held.value);
  if (catalogue.value) {
    const known = { plans, held: withPlans(held.value ?? []), today: catalogue.value.as_of };
    showShop(catalogue.value, known, { act, refresh });
  } else {
    find('plans').replaceChildren();
    find('plans').removeAttribute('aria-busy');
  }
  const failed = [catalogue, held].find(({ status }) => status === 'rejected');
  if (failed) notify(failed.reason);
  return held.value ?? [];
}

/** Looks again at what she holds; what has not changed is left alone, and so is where she is in it. */
async function refresh() {
  const held = await mine();
  const text = JSON.stringify(held);
  if (text === last) return;
  last = text;
  showOwn(plans, withPlans(held), holds);
  holds(withPlans(held));
}

async function lookAgain() {
  for (const milliseconds of LOOK_AGAIN) {
    await new Promise((done) => setTimeout(done, milliseconds));
    if (!find('dialog').open) await refresh();
  }
}

begin();
frame().catch(notify);
show()
  .then((held) => {
    const isBack = new URLSearchParams(location.search).has('back');
    return isBack || held.some((one) => OWING.has(one.status_reason)) ? lookAgain() : undefined;
  })
  .catch(notify);
// "Back" from another page restores this one as it was left: the truth may have changed.
addEventListener('pageshow', (event) => event.persisted && location.reload());
