//! What processes cost, as `/proc` tells it.

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// Linux counts in hundredths of a second, whatever the kernel's own tick is.
const TICK: Duration = Duration::from_millis(10);

/// Times of a process, in ticks.
struct Times {
    parent: u32,
    own: u64,
    /// Of children that have ended.
    reaped: u64,
}

fn times(pid: u32) -> anyhow::Result<Times> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name stands in brackets and may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("no process")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |at: usize| -> anyhow::Result<u64> {
        let field = fields
            .get(at)
            .context("a line of /proc that is too short")?;
        Ok(field.parse()?)
    };
    Ok(Times {
        parent: u32::try_from(number(1)?)?,
        own: number(11)? + number(12)?,
        reaped: number(13)? + number(14)?,
    })
}

fn duration(ticks: u64) -> Duration {
    TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// CPU time of a process so far.
pub(crate) fn process(pid: u32) -> anyhow::Result<Duration> {
    let times = times(pid).with_context(|| format!("process {pid} is gone"))?;
    Ok(duration(times.own))
}

/// CPU time of a whole Postgres so far: the postmaster, its children, and those that have ended.
pub(crate) fn cluster(postmaster: u32) -> anyhow::Result<Duration> {
    let main = times(postmaster).context("Postgres is gone")?;
    let mut ticks = main.own + main.reaped;
    for entry in fs::read_dir("/proc").context("no /proc on this machine")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        // One that ends meanwhile is missed: our connections live long.
        if let Some(child) = pid.and_then(|pid| times(pid).ok())
            && child.parent == postmaster
        {
            ticks += child.own;
        }
    }
    Ok(duration(ticks))
}

/// CPU time of this process, and of all children that have ended and were waited for.
pub(crate) fn ours() -> anyhow::Result<Duration> {
    let times = times(std::process::id())?;
    Ok(duration(times.own + times.reaped))
}

/// CPU time that the whole machine has spent on anything so far.
pub(crate) fn machine() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("no /proc on this machine")?;
    let line = stat.lines().next().unwrap_or_default();
    let fields = line.split_whitespace().skip(1);
    let fields: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>()?;
    // user, nice, system, idle, iowait, irq, softirq, steal: all but the two in which nothing is done.
    let busy = fields.iter().enumerate().take(8);
    let busy = busy.filter(|(at, _)| !matches!(at, 3 | 4));
    Ok(duration(busy.map(|(_, ticks)| ticks).sum()))
}

/// Forgets the highest memory of a process so far; where that is forbidden, peaks are those since its start.
pub(crate) fn reset_peak(pid: u32) {
    drop(fs::write(format!("/proc/{pid}/clear_refs"), "5"));
}

/// The highest memory of a process since then, in KiB.
pub(crate) fn peak(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("no VmHWM on this machine")?.parse()?)
}
