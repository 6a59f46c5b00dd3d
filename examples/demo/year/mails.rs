//! What members have written to support: for who wants to try the console.

use super::kept::Mentions;

/// A mail, and what to make of it.
pub(crate) struct Mail {
    pub(crate) from: &'static str,
    /// What to search for: an address, or an id at Stripe.
    pub(crate) search: String,
    pub(crate) text: &'static str,
    /// What is the matter, for who has looked already.
    pub(crate) answer: &'static str,
}

/// What stands in place of an address where the mail mentions an id: who has one knows it from the year.
const MENTIONED: &str = "";

/// From whom; the end of her id and, unless she mentions an id at Stripe, her address; what she wrote; what is the matter.
#[rustfmt::skip]
const MAILS: [(&str, &str, &str, &str, &str); 13] = [
    ("Farid Haddad", "farid", "farid.haddad@example.org",
     "I paid what was open five weeks ago, from the link in your mail. I am still locked out.",
     "Paid at Stripe, not here: the webhook got lost, and Stripe’s list of events no longer has it. Sync mends it."),
    ("Marek Zawadzki", "marek", "marek.zawadzki@example.org",
     "I paid for a membership an hour ago, and it is not there.",
     "Every webhook of it got lost. The service finds it by itself within ten minutes; who looks before can sync."),
    ("Lena Fischer", "lena", "lena.fischer@example.org",
     "The page seemed to hang, so I did it again. Now I have paid for credits twice.",
     "Two payments, four minutes apart. One can be refunded."),
    ("Jana Horáková", "jana", "jana.horakova@example.org",
     "I joined two days ago with my bank account. Am I a member or not?",
     "Not yet: the debit is under way. Nothing is to be done."),
    ("Ivo Kralj", "ivo", "ivo.kralj@example.org",
     "I paid but I am no member. What happened to my money?",
     "The card was declined, and the checkout expired: nothing was taken."),
    ("Karim Benali", "karim", "karim.benali@example.org",
     "Where are the credits that I bought two months ago?",
     "The bank sent the debit back days later: nothing was paid."),
    ("Nora Eriksen", "nora", MENTIONED,
     "You said that you refunded me, under this number. When was that?",
     "In full; the credits ended with it."),
    ("Otto Brenner", "otto", MENTIONED,
     "You paid a part back, under this number. What am I now?",
     "Everything still: a part of a basket went back and named no line, so it was flagged for a person."),
    ("Petra Hoffmann", "petra", MENTIONED,
     "My credits are blocked. I did not buy anything that I know of!",
     "She disputes the payment, and the dispute is open: on hold until the bank has decided."),
    ("Samira Khalil", "samira", MENTIONED,
     "My bank says that this dispute was settled weeks ago. Why are my credits still blocked?",
     "It was won, but the service’s key may not read that payment, so the event failed for good. Let it, by \
      DELETE /_sandbox/faults at the sandbox, then replay."),
    ("Tomáš Novotný", "tomas", "tomas.novotny@example.org",
     "You gave me the reduced fee; the page still says that I pay the full one.",
     "Support moved him at Stripe to a price that no plan has: flagged. A plan for it, or back."),
    ("Ulla Brinkmann", "ulla", "ulla.brinkmann@example.org",
     "I paid your invoice, but you say that my membership has ended.",
     "It had ended before she paid: flagged. Give the money back, or sell anew."),
    ("Anton Berger", "anton", MENTIONED,
     "You signed me up by phone. Your page does not know me.",
     "Sold at Stripe by hand, without our ids: adopt it for member-anton."),
];

/// Those who wrote; who mentions an id mentions that of this year.
pub(crate) fn mails(mentions: &Mentions) -> impl Iterator<Item = Mail> {
    MAILS
        .iter()
        .map(|&(from, user, address, text, answer)| Mail {
            from,
            search: match address {
                MENTIONED => mentions.get(user).cloned().unwrap_or_default(),
                address => address.to_owned(),
            },
            text,
            answer,
        })
}
