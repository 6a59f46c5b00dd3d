//! `dues doctor`: a line for each thing that was looked at, as soon as it is known.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::ensure;
use clap::Args;
use dues::app;
use dues::services::operators::doctor::{
    Check, Doctor, Finding, Remedy, Status, bad_settings, good_settings, setting_problems,
};
use dues::settings::Settings;

/// How to look, and what to mend.
#[derive(Args)]
pub(crate) struct Examination {
    /// Make the webhook endpoint at Stripe if there is none, and print its secret
    #[arg(long)]
    create_webhook_endpoint: bool,
    /// Give the webhook endpoint at Stripe the events that it lacks
    #[arg(long)]
    update_webhook_endpoint: bool,
    /// Print JSON when all is known, instead of lines
    #[arg(long)]
    json: bool,
}

/// Everything that was found; prints lines as they come.
struct Report {
    findings: Vec<Finding>,
    json: bool,
}

/// `dues doctor`
pub(crate) async fn doctor(how: Examination) -> anyhow::Result<()> {
    let mut report = Report {
        findings: Vec::new(),
        json: how.json,
    };
    examine(&how, &mut report).await?;
    let failures = report.end()?;
    ensure!(failures == 0, "{failures} thing(s) must be mended");
    Ok(())
}

async fn examine(how: &Examination, report: &mut Report) -> anyhow::Result<()> {
    let settings = match Settings::from_environment() {
        Ok(settings) => settings,
        Err(error) => match Settings::without_webhook_secrets() {
            // Before there is an endpoint there is no secret, and the endpoint can be made from here.
            Ok(settings) if error.is_about_webhook_secrets() => {
                report.tell_all(setting_problems(&error));
                settings
            }
            Ok(_) | Err(_) => {
                report.tell_all(bad_settings(&error));
                return Ok(());
            }
        },
    };
    report.tell_all(good_settings(&settings));
    let clock = match app::clock(&settings).await {
        Ok(clock) => clock,
        Err(error) => {
            report.tell(Finding {
                check: Check::Settings,
                status: Status::Fail,
                detail: error.to_string(),
                advice: Some("start the sandbox, or take DUES__CLOCK__FOLLOW out".to_owned()),
            });
            app::machine_clock()
        }
    };
    let doctor = Doctor::new(&settings, clock)?;
    let remedy = doctor.examine(&mut |finding| report.tell(finding)).await;
    if let Some(remedy) = remedy.filter(|remedy| how.wants(remedy)) {
        let mended = doctor.apply(&remedy).await;
        report.mend(mended);
    }
    Ok(())
}

impl Examination {
    /// Whether to mend: as the options say, else as somebody at a terminal answers.
    fn wants(&self, remedy: &Remedy) -> bool {
        let (told, question) = match remedy {
            Remedy::Create { url } => (
                self.create_webhook_endpoint,
                format!("Make the webhook endpoint {url} at Stripe now?"),
            ),
            Remedy::Update { id, .. } => (
                self.update_webhook_endpoint,
                format!("Give {id} the events that it lacks now?"),
            ),
        };
        told || (!self.json && std::io::stdin().is_terminal() && says_yes(&question))
    }
}

fn says_yes(question: &str) -> bool {
    eprint!("{question} [y/N] ");
    drop(std::io::stderr().flush());
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

impl Report {
    fn tell_all(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            self.tell(finding);
        }
    }

    fn tell(&mut self, finding: Finding) {
        if !self.json {
            println!("{}", line(&finding));
        }
        self.findings.push(finding);
    }

    /// What was mended takes the place of what was wrong, unless it is still wrong.
    fn mend(&mut self, mended: Finding) {
        if mended.status != Status::Fail {
            self.findings
                .retain(|finding| finding.check != mended.check || finding.status != Status::Fail);
        }
        self.tell(mended);
    }

    /// Prints what remains to be printed; how many failures there are.
    fn end(&self) -> anyhow::Result<usize> {
        let count = |status| {
            let with = self
                .findings
                .iter()
                .filter(|finding| finding.status == status);
            with.count()
        };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&self.findings)?);
        } else {
            println!(
                "{} ok, {} to note, {} to look at, {} to mend, {} not looked at",
                count(Status::Ok),
                count(Status::Note),
                count(Status::Warn),
                count(Status::Fail),
                count(Status::Skip)
            );
        }
        Ok(count(Status::Fail))
    }
}

fn line(finding: &Finding) -> String {
    let status = match finding.status {
        Status::Ok => "ok",
        Status::Note => "note",
        Status::Warn => "warn",
        Status::Fail => "FAIL",
        Status::Skip => "skip",
    };
    let Finding { check, detail, .. } = finding;
    let line = format!("{status:<6}{:<12}{detail}", check.as_str());
    match &finding.advice {
        Some(advice) => format!("{line}: {advice}"),
        None => line,
    }
}
