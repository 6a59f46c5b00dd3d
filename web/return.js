// Where the browser lands after paying. The address says what to look for; only the service says what is true.

import { call, config } from './api.js';
import { empty, isLive } from './basket.js';
import { copy, describe, find, frame, notify } from './page.js';
import { KINDS } from './words.js';

/** Milliseconds between questions while money is on its way: two minutes in all. */
const PAUSES = [500, 500, 1000, 1000, 2000, 2000, 3000, ...Array(22).fill(5000)];

const SETTLED = new Set(['ACTIVE', 'CANCELLED', 'ENDED', 'ON_HOLD']);

const NOT_BOUGHT = {
  cancelled: ['Nothing was bought', 'You went back, and the payment page is closed. You have not been charged, and your basket is as you left it.'],
  expired: ['The payment page had expired', 'You have not been charged, and your basket is as you left it.'],
  open: ['Not paid yet', 'You have not been charged. You can begin again whenever you like.'],
};

const UNCLEAR = {
  unknown_session: 'The link that brought you here does not belong to a purchase that we know of.',
  invalid_link: 'This link is not valid, or no longer. Nothing was changed.',
  session_mismatch: 'This purchase does not fit our records. Write to us: we will put it right.',
};

const query = new URLSearchParams(location.search);
const ids = (query.get('subscription_ids') ?? '').split(',').filter(Boolean);
const code = query.get('code');

function say(title, sentence) {
  find('title').textContent = title;
  find('sentence').textContent = sentence;
  document.title = `${title} · Morrowfield`;
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const read = () => Promise.all(ids.map((id) => call('GET', `/v1/subscriptions/${encodeURIComponent(id)}`)));

async function success() {
  if (!ids.length) {
    say('Thank you', 'There is nothing to show for this link.');
    return;
  }
  const plans = await call('GET', '/v1/plans', { anonymous: true });
  const name = (wanted) => plans.data.find((plan) => plan.code === wanted)?.name ?? wanted;
  const { member } = await config();
  for (const milliseconds of [...PAUSES, null]) {
    const lines = await read();
    find('holdings-list').replaceChildren(...lines.map((line) => describe(copy('holding'), line, name)));
    // Bought, or on its way: what is left in the basket would buy it again.
    if (lines.every((line) => isLive(line))) empty();
    const settled = lines.every((line) => SETTLED.has(line.status));
    find('waiting').hidden = settled || milliseconds === null;
    tell(lines, member?.name ?? 'member', milliseconds === null);
    if (settled || milliseconds === null) return;
    await pause(milliseconds);
  }
}

function tell(lines, name, patient) {
  if (lines.every((line) => line.entitled)) {
    const membership = lines.find((line) => line.kind === 'membership');
    const words = KINDS[(membership ?? lines[0]).kind];
    const sentence = lines.length > 1 ? 'All of it is paid and yours.' : 'It is paid and yours.';
    const isMixed = !membership && lines.some((line) => line.kind !== lines[0].kind);
    say((!isMixed && words?.thanks(name)) || `Thank you, ${name}`, sentence);
  } else if (lines.some((line) => line.status === 'ON_HOLD' || line.status === 'ENDED')) {
    say('The payment did not go through', 'See below what became of each part. Nothing was charged that is not yours.');
  } else if (patient) {
    say('Your payment is on its way', 'Some ways of paying take days. You need not wait here: we will know when it arrives.');
  } else {
    say('Your payment is on its way', 'This takes a moment. The page changes by itself.');
  }
}

function cancel() {
  say(...(NOT_BOUGHT[code] ?? NOT_BOUGHT.open));
}

function error() {
  say('We can’t tell what this is about', UNCLEAR[code] ?? UNCLEAR.unknown_session);
}

frame().catch(notify);
const pages = { success, cancel, error };
Promise.resolve(pages[document.body.dataset.page]()).catch((problem) => {
  find('waiting').hidden = true;
  notify(problem);
});
