//! Known API versions.

/// Releases by name with the dates between which their versions lie.
const NAMED: &[(&str, &str, &str)] = &[
    ("acacia", "2024-09-30", "2025-03-30"),
    ("basil", "2025-03-31", "2025-09-29"),
    ("clover", "2025-09-30", "2026-03-24"),
    ("dahlia", "2026-03-25", "2026-09-29"),
    ("endive", "2026-09-30", "2026-10-28"),
];

/// Versions from before releases had names.
const DATED: &[&str] = &[
    "2017-08-15",
    "2018-11-08",
    "2019-12-03",
    "2020-03-02",
    "2020-08-27",
    "2022-08-01",
    "2022-11-15",
    "2023-08-16",
    "2023-10-16",
    "2024-04-10",
    "2024-06-20",
];

/// Whether Stripe has released a version.
pub(crate) fn is_known(version: &str) -> bool {
    let Some((date, name)) = version.split_once('.') else {
        return DATED.contains(&version);
    };
    let looks_like_date = date.len() == 10
        && date
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-');
    looks_like_date
        && NAMED
            .iter()
            .any(|(known, first, last)| *known == name && (*first..=*last).contains(&date))
}

/// Whether objects have the shape from before basil (2025-03-31).
pub(crate) fn is_before_basil(version: &str) -> bool {
    version < "2025-03-31"
}

#[cfg(test)]
mod tests {
    use super::is_known;

    #[test]
    fn names_and_dates_belong_together() {
        for version in [
            "2026-10-28.endive",
            "2026-09-30.endive",
            "2025-03-31.basil",
            "2024-06-20",
        ] {
            assert!(is_known(version), "{version}");
        }
        for version in [
            "2026-10-28",
            "2026-10-28.basil",
            "2027-01-01.endive",
            "latest",
            "",
        ] {
            assert!(!is_known(version), "{version}");
        }
    }
}
