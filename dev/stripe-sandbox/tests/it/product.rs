//! What makes it a product of its own: a version, a changelog, a client in another language.

use std::path::Path;

use tokio::process::Command;

use crate::bench::Bench;

fn in_package(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[tokio::test]
async fn the_client_in_python_buys_a_membership_and_a_share() {
    let bench = Bench::start().await;
    for (key, amount) in [("annual", "3000 eur"), ("share", "5000 eur")] {
        let output = Command::new("python3")
            .arg(in_package("examples/client.py"))
            .args([&bench.url, key])
            .output()
            .await
            .expect("python3 runs");
        let said = String::from_utf8_lossy(&output.stdout);
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{complaints}");
        for wanted in [
            "paid     the buyer returns to https://shop.example/thanks".to_owned(),
            "verified checkout.session.completed of order-1".to_owned(),
            format!("bought   {amount}, paid"),
        ] {
            assert!(said.contains(&wanted), "no {wanted:?} in\n{said}");
        }
    }
}

#[tokio::test]
async fn the_version_is_told_and_heads_the_changelog() {
    let output = Command::new(env!("CARGO_BIN_EXE_stripe-sandbox"))
        .arg("--version")
        .output()
        .await
        .unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), format!("stripe-sandbox {version}"));
    let changelog = std::fs::read_to_string(in_package("CHANGELOG.md")).unwrap();
    let newest = changelog.lines().find(|line| line.starts_with("## ["));
    assert!(
        newest.is_some_and(|line| line.starts_with(&format!("## [{version}]"))),
        "{newest:?} is not about {version}"
    );
}

#[test]
fn the_readme_names_files_that_exist() {
    let readme = std::fs::read_to_string(in_package("README.md")).unwrap();
    let quoted = readme.split('`').skip(1).step_by(2);
    let is_file = |text: &&str| {
        ["src/", "spec/", "tests/", "examples/"]
            .iter()
            .any(|room| text.starts_with(room))
            && !text.contains(['<', ' '])
    };
    let named: Vec<&str> = quoted.filter(is_file).collect();
    assert!(named.len() > 8, "{named:?}");
    for name in named {
        assert!(in_package(name).exists(), "there is no {name}");
    }
}
