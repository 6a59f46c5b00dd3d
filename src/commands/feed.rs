//! `dues feed`: what follows a restore.

use clap::Subcommand;
use dues::app;
use dues::settings::Settings;

/// What to do with the feed.
#[derive(Subcommand)]
pub(crate) enum Feed {
    /// Begin another epoch, after the database was restored from a dump: whoever follows is told to begin again
    NewEpoch,
}

pub(crate) async fn feed(command: Feed) -> anyhow::Result<()> {
    match command {
        Feed::NewEpoch => {
            let feed = app::feed(&Settings::database()?).await?;
            println!("a new epoch begins: {}", feed.new_epoch().await?);
        }
    }
    Ok(())
}
