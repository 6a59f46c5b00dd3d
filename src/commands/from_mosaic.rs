//! `dues plans from-mosaic`: a plans file, written from what a Mosaic Billing Service sells.

use std::collections::HashSet;
use std::fmt::Write as _;

use dues::outward::followers::billing::{self, PaymentPlan};
use dues::settings::Settings;

/// Longest code that is made of names; a number may follow it.
const CODE: usize = 90;

const HEAD: &str = "\
# What Mosaic Billing sells, by its payment plans. What stands behind # there is not sold: the reason stands above it.
# Read it, then: dues plans check. Never change a code once something was bought under it. What else a plan can say stands
# in config/plans.toml of Dues.
";

/// Prints the file.
pub(super) async fn from_mosaic(follower: Option<&str>) -> anyhow::Result<()> {
    // Whoever writes the plans file may not have made the webhook endpoint yet.
    let settings = Settings::without_webhook_secrets()?;
    let plans = billing::payment_plans(&settings, follower).await?;
    let sold = { plans.iter() }
        .filter(|plan| why_not(plan).is_none())
        .count();
    print!("{}", written(&plans));
    eprintln!("{} payment plans, {sold} of them to be sold", plans.len());
    Ok(())
}

/// The plans file, with what isn't sold as comments.
fn written(plans: &[PaymentPlan]) -> String {
    let mut file = HEAD.to_owned();
    let mut codes = HashSet::new();
    for plan in plans {
        let code = code(plan, &mut codes);
        let terms = one_line(&plan.terms);
        // Writing to a string can't fail.
        let _ = writeln!(file, "\n# {terms}");
        let price = plan.price.as_deref().unwrap_or("price_…");
        let entry = format!(
            "[[plan]]\ncode = {}\nkind = \"membership\"\nprice = {}\nname = {}\nmosaic_payment_plan = \"{}\"\n",
            quoted(&code),
            quoted(price),
            quoted(&name(plan)),
            plan.id
        );
        match why_not(plan) {
            None => file.push_str(&entry),
            Some(why) => {
                let _ = writeln!(file, "# {why}");
                for line in entry.lines() {
                    let _ = writeln!(file, "# {line}");
                }
            }
        }
    }
    file
}

/// Why it can't be sold; none where it can.
fn why_not(plan: &PaymentPlan) -> Option<&'static str> {
    match plan.price.as_deref() {
        _ if !plan.is_active => {
            Some("Not sold: it, or what it sells, is inactive in Mosaic Billing.")
        }
        None => Some("Not sold: it has no price of this payment provider (externalId)."),
        Some(price) if !price.starts_with("price_") => {
            Some("Not sold: what it has as price of this payment provider is no price of Stripe's.")
        }
        Some(_) => None,
    }
}

/// What members read: what is sold, and how it is paid where that has another name.
fn name(plan: &PaymentPlan) -> String {
    let (sold, title) = (one_line(&plan.sold), one_line(&plan.title));
    if sold.is_empty() || sold == title {
        title
    } else {
        format!("{sold}, {title}")
    }
}

/// A code of the names that no other has.
fn code(plan: &PaymentPlan, taken: &mut HashSet<String>) -> String {
    let name = name(plan).to_lowercase();
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let mut slug = words.join("-");
    slug.truncate(CODE);
    let slug = match slug.trim_matches('-') {
        "" => "plan",
        slug => slug,
    };
    let mut numbered = (2..).map(|number| format!("{slug}-{number}"));
    let mut code = slug.to_owned();
    while !taken.insert(code.clone()) {
        code = numbered.next().unwrap_or_default();
    }
    code
}

/// Somebody else's text as one line.
fn one_line(text: &str) -> String {
    let words = text.split(|letter: char| letter.is_whitespace() || letter.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sold: &str, title: &str) -> PaymentPlan {
        PaymentPlan {
            id: "3f1d3a8e-0000-4000-8000-000000000001"
                .parse()
                .expect("an id"),
            sold: sold.to_owned(),
            title: title.to_owned(),
            is_active: true,
            price: Some("price_1".to_owned()),
            terms: "every 1 MONTH".to_owned(),
        }
    }

    #[test]
    fn codes_are_made_of_names_and_differ() {
        let mut taken = HashSet::new();
        let mut code = |sold: &str, title: &str| code(&plan(sold, title), &mut taken);
        assert_eq!(code("Größe & Co.", "Monthly"), "gr-e-co-monthly");
        assert_eq!(code("Plus", "Plus"), "plus");
        assert_eq!(code("Plus", "Plus"), "plus-2");
        assert_eq!(code("Plus", "2"), "plus-2-2");
        assert_eq!(code("音楽", ""), "plan");
        assert_eq!(code(&"a".repeat(200), "").len(), CODE);
    }

    #[test]
    fn whatever_names_hold_the_file_can_be_read() {
        let mut odd = plan("A \"quoted\"\n[[plan]]\u{7} title", "\\ back");
        odd.terms = "every 1 MONTH,\n[[plan]]".to_owned();
        let mut inactive = odd.clone();
        inactive.is_active = false;
        let mut priceless = odd.clone();
        priceless.price = None;
        let mut of_another = odd.clone();
        of_another.price = Some("prod_1".to_owned());
        let text = written(&[odd, inactive, priceless, of_another]);
        let file: toml::Table = text.parse().expect("TOML");
        let sold = file["plan"].as_array().expect("plans");
        assert_eq!(sold.len(), 1, "{text}");
        assert_eq!(
            sold[0]["name"].as_str(),
            Some("A \"quoted\" [[plan]] title, \\ back")
        );
        assert_eq!(text.matches("# Not sold").count(), 3, "{text}");
    }
}
