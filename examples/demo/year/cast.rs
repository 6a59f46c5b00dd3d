//! Who is in the cooperative, and what happens to them: read it from top to bottom.
//!
//! Months have thirty days and count from the beginning; month 13, day 20 is today. On one day several people buy, which
//! costs less than a day for each.

use super::script::{
    ANNUAL, Act, At, BAD_ACCOUNT, CREDITS_20, CREDITS_50, FAILING_LATER, GOOD_ACCOUNT, GOOD_CARD,
    MONTHLY, Member, Pays, donation, member, on, shares,
};

/// Everybody.
pub(super) fn cast() -> Vec<Member> {
    let mut all = founders();
    all.extend(who_followed());
    all.extend(who_wavered());
    all.extend(whose_money_went_astray());
    all.extend(of_the_last_days());
    all
}

/// They began it; their memberships have just been renewed, or not.
fn founders() -> Vec<Member> {
    vec![
        member("rosa", "Rosa Lindqvist", "rosa.lindqvist")
            .buys(on(0, 2), &[ANNUAL, shares(4), donation(25)])
            .buys(on(6, 12), &[CREDITS_50]),
        member("bruno", "Bruno Keller", "bruno.keller")
            .buys(on(0, 2), &[ANNUAL, shares(2)])
            .buys(on(9, 4), &[donation(40)]),
        // Two currencies, so two customers at Stripe.
        member("carmen", "Carmen Ortega", "carmen")
            .pays(on(0, 2), &[ANNUAL], Pays::InDollars)
            .buys(on(4, 20), &[CREDITS_50]),
        member("dmitri", "Dmitri Volkov", "d.volkov").buys(on(0, 2), &[MONTHLY, shares(1)]),
        member("elif", "Elif Yılmaz", "elif.yilmaz")
            .buys(on(0, 12), &[ANNUAL, shares(1)])
            .then(on(11, 6), Act::Cancels("period_end")),
        member("greta", "Greta Holm", "greta.holm").buys(on(0, 12), &[MONTHLY]),
        member("hugo", "Hugo Marchetti", "hugo.m")
            .buys(on(0, 12), &[ANNUAL, donation(10)])
            .buys(on(3, 16), &[shares(10)]),
        // The renewal failed until it was given up; then he paid what was open, and nobody here heard of it. It is so long
        // ago that Stripe's list of events has forgotten it.
        member("farid", "Farid Haddad", "farid.haddad")
            .pays(on(0, 2), &[ANNUAL], Pays::With(FAILING_LATER))
            .then(on(12, 17), Act::PaysInvoiceUnheard),
    ]
}

/// A few more each month.
fn who_followed() -> Vec<Member> {
    vec![
        member("ines", "Inês Carvalho", "ines.carvalho").buys(on(1, 8), &[MONTHLY]),
        member("jonas", "Jonas Weber", "jonas.weber").buys(on(1, 8), &[ANNUAL, shares(1)]),
        member("kaja", "Kaja Nowak", "kaja.nowak")
            .buys(on(2, 5), &[ANNUAL])
            .buys(on(5, 18), &[CREDITS_20])
            .buys(on(8, 10), &[CREDITS_20])
            .buys(on(11, 6), &[CREDITS_20]),
        member("luca", "Luca Ferrari", "luca.ferrari").buys(on(2, 5), &[ANNUAL, donation(15)]),
        member("mirjam", "Mirjam de Wit", "mirjam.dewit").buys(on(3, 16), &[MONTHLY]),
        member("noor", "Noor van Dijk", "noor.vandijk").buys(on(3, 16), &[ANNUAL, shares(2)]),
        member("oskar", "Oskar Lund", "oskar.lund")
            .buys(on(4, 20), &[CREDITS_50])
            .buys(on(7, 14), &[CREDITS_50])
            .buys(on(10, 8), &[CREDITS_50])
            .buys(on(13, 2), &[CREDITS_50]),
        member("pavel", "Pavel Dvořák", "pavel.dvorak").buys(on(4, 20), &[ANNUAL]),
        member("ruben", "Ruben Maes", "ruben.maes").buys(on(5, 18), &[ANNUAL, shares(3)]),
        member("selma", "Selma Aydın", "selma.aydin").buys(on(5, 18), &[ANNUAL]),
        member("teun", "Teun Bakker", "teun.bakker").buys(on(6, 12), &[ANNUAL, donation(5)]),
        member("uma", "Uma Krishnan", "uma.krishnan").buys(on(6, 12), &[MONTHLY]),
        member("valentin", "Valentin Roux", "valentin.roux")
            .buys(on(7, 14), &[ANNUAL])
            .buys(on(9, 4), &[CREDITS_20]),
        member("wiebke", "Wiebke Janssen", "wiebke.janssen").pays(
            on(7, 14),
            &[ANNUAL],
            Pays::With(GOOD_ACCOUNT),
        ),
        member("ximena", "Ximena Duarte", "ximena.duarte").buys(on(8, 10), &[ANNUAL, shares(1)]),
        member("yara", "Yara Mansour", "yara.mansour").buys(on(8, 10), &[MONTHLY]),
        member("zeno", "Zeno Baumann", "zeno.baumann").buys(on(9, 4), &[ANNUAL, shares(5)]),
        member("agnes", "Agnes Kovács", "agnes.kovacs").buys(on(9, 4), &[ANNUAL]),
        member("bela", "Béla Szabó", "bela.szabo").buys(on(10, 8), &[ANNUAL, donation(50)]),
        member("cato", "Cato Jacobs", "cato.jacobs").buys(on(10, 8), &[MONTHLY]),
        member("dunja", "Dunja Petrović", "dunja.petrovic").buys(on(11, 6), &[ANNUAL]),
        member("emil", "Emil Sørensen", "emil.sorensen").buys(on(11, 6), &[ANNUAL, shares(2)]),
        member("fleur", "Fleur Bernard", "fleur.bernard").buys(on(12, 1), &[ANNUAL, donation(20)]),
        member("gustav", "Gustav Ek", "gustav.ek").buys(on(12, 1), &[MONTHLY]),
        member("hana", "Hana Sato", "hana.sato").buys(on(12, 1), &[ANNUAL, shares(1)]),
        member("igor", "Igor Marin", "igor.marin").buys(on(12, 22), &[ANNUAL]),
        member("julie", "Julie Lambert", "julie.lambert").buys(on(12, 22), &[ANNUAL, CREDITS_20]),
        member("kees", "Kees Visser", "kees.visser").buys(on(13, 2), &[MONTHLY, shares(1)]),
        member("lotte", "Lotte Brandt", "lotte.brandt").buys(on(13, 12), &[ANNUAL]),
        member("mathis", "Mathis Girard", "mathis.girard").buys(on(13, 12), &[ANNUAL, shares(2)]),
    ]
}

/// They changed their minds, or their cards did.
fn who_wavered() -> Vec<Member> {
    vec![
        // Declined at the renewal; another card in time, and the retry is paid.
        member("wanda", "Wanda Zielińska", "wanda.zielinska")
            .pays(on(6, 12), &[MONTHLY], Pays::With(FAILING_LATER))
            .then(on(7, 14), Act::TakesCard(GOOD_CARD)),
        // Declined, and declined again: on hold.
        member("viktor", "Viktor Stein", "viktor.stein").pays(
            on(10, 8),
            &[MONTHLY],
            Pays::With(FAILING_LATER),
        ),
        // Declined two days ago; Stripe will try again.
        member("edda", "Edda Jónsdóttir", "edda.jonsdottir").pays(
            on(12, 17),
            &[MONTHLY],
            Pays::With(FAILING_LATER),
        ),
        // A vote that went another way.
        member("xenia", "Xenia Popescu", "xenia.popescu")
            .buys(on(8, 10), &[MONTHLY])
            .then(on(10, 20), Act::Cancels("now")),
        member("yusuf", "Yusuf Demir", "yusuf.demir")
            .buys(on(9, 4), &[MONTHLY])
            .then(on(11, 15), Act::Cancels("period_end")),
        member("zofia", "Zofia Wójcik", "zofia.wojcik")
            .buys(on(5, 18), &[ANNUAL])
            .then(on(13, 12), Act::Cancels("period_end")),
        member("henrik", "Henrik Dahl", "henrik.dahl")
            .buys(on(13, 2), &[MONTHLY])
            .then(on(13, 12), Act::Cancels("period_end")),
        member("dario", "Dario Conti", "dario.conti")
            .buys(on(7, 14), &[ANNUAL])
            .then(on(11, 15), Act::Cancels("period_end"))
            .then(on(12, 1), Act::Keeps),
        // A year is cheaper.
        member("cleo", "Cleo Andersson", "cleo.andersson")
            .buys(on(9, 4), &[MONTHLY])
            .then(on(11, 15), Act::ChangesTo("membership-annual")),
    ]
}

/// What support gets mail about: see `mails.rs`.
fn whose_money_went_astray() -> Vec<Member> {
    vec![
        member("karim", "Karim Benali", "karim.benali").pays(
            on(11, 15),
            &[CREDITS_50],
            Pays::With(BAD_ACCOUNT),
        ),
        member("nora", "Nora Eriksen", "nora.eriksen")
            .buys(on(11, 6), &[CREDITS_50])
            .then(on(11, 15), Act::Refunded(None)),
        // A part of a basket went back, and nobody said of which line.
        member("otto", "Otto Brenner", "otto.brenner")
            .buys(on(12, 22), &[ANNUAL, shares(1), donation(25)])
            .then(on(13, 8), Act::Refunded(Some(1_500))),
        member("petra", "Petra Hoffmann", "petra.hoffmann")
            .buys(on(12, 22), &[CREDITS_50])
            .then(on(13, 8), Act::Disputed),
        member("quentin", "Quentin Moreau", "quentin.moreau")
            .buys(on(8, 10), &[shares(2)])
            .then(on(9, 4), Act::Disputed)
            .then(on(11, 15), Act::Decided("lost")),
        // The bank decided for us, and when the service asked, Stripe refused to tell: an event that failed for good.
        member("samira", "Samira Khalil", "samira.khalil")
            .buys(on(10, 8), &[CREDITS_50])
            .then(on(11, 6), Act::Disputed)
            .then(on(12, 22), Act::WonButUnreadable),
        // Support halved the price at Stripe; no plan has it.
        member("tomas", "Tomáš Novotný", "tomas.novotny")
            .buys(on(11, 6), &[MONTHLY])
            .then(on(13, 8), Act::MovedToReducedPrice),
        // Declined at the renewal, ended by support as she wished; then she pays the invoice all the same.
        member("ulla", "Ulla Brinkmann", "ulla.brinkmann")
            .pays(on(11, 6), &[MONTHLY], Pays::With(FAILING_LATER))
            .then(on(12, 12), Act::EndedBySupport)
            .then(on(13, 2), Act::PaysInvoice),
        // Sold by support at Stripe itself, over the phone: to be adopted.
        member("anton", "Anton Berger", "anton.berger").then(on(13, 2), Act::SoldBySupport),
    ]
}

/// It has just happened, or not yet.
fn of_the_last_days() -> Vec<Member> {
    let topped_up = on(13, 17);
    vec![
        // The first page seemed to hang.
        member("lena", "Lena Fischer", "lena.fischer")
            .buys(on(12, 1), &[ANNUAL])
            .buys(topped_up, &[CREDITS_20])
            .buys(topped_up.and(4), &[CREDITS_20]),
        member("jana", "Jana Horáková", "jana.horakova").pays(
            on(13, 18),
            &[ANNUAL, shares(1)],
            Pays::With(GOOD_ACCOUNT),
        ),
        member("ivo", "Ivo Kralj", "ivo.kralj").pays(on(13, 17), &[ANNUAL], Pays::IsDeclined),
        member("marek", "Marek Zawadzki", "marek.zawadzki").pays(
            At::Ago(55),
            &[ANNUAL, donation(10)],
            Pays::Unheard,
        ),
        member("birte", "Birte Sommer", "birte.sommer").pays(
            At::Ago(12),
            &[ANNUAL, shares(2)],
            Pays::Leaves,
        ),
    ]
}
