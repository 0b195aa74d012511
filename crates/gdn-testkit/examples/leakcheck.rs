//! The leak oracle as a program: `cargo xtask leakcheck`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use gdn_testkit::leak::{DEADLINE, Leaks, Scope, Snapshot, wait_until_equal};

const USAGE: &str = "\
usage: leakcheck                    list what is left of any engine
       leakcheck --engine ID        list what is left of this engine
       leakcheck snapshot FILE      write down what engines hold now
       leakcheck diff FILE          compare with what was written down, for at most 5 s
Exit status 1 when something is left.";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leakcheck: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => nothing_left(&Scope::any_engine()),
        ["--engine", id] => nothing_left(&Scope::engine(id)),
        ["snapshot", file] => write(Path::new(file)),
        ["diff", file] => compare(Path::new(file)),
        ["--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("unknown arguments {arguments:?}\n{USAGE}"),
    }
}

fn nothing_left(scope: &Scope) -> Result<()> {
    report(wait_until_equal(&Snapshot::empty(scope), scope, DEADLINE))
}

fn write(file: &Path) -> Result<()> {
    let snapshot = Snapshot::take(&Scope::any_engine())?;
    std::fs::write(file, serde_json::to_vec_pretty(&snapshot)?)
        .with_context(|| format!("write {}", file.display()))?;
    println!("leakcheck: engines hold {} things now", snapshot.len());
    Ok(())
}

fn compare(file: &Path) -> Result<()> {
    let text = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let before: Snapshot =
        serde_json::from_slice(&text).with_context(|| format!("{} holds no snapshot", file.display()))?;
    report(wait_until_equal(&before, &Scope::any_engine(), DEADLINE))
}

fn report(outcome: Result<(), Leaks>) -> Result<()> {
    match outcome {
        Ok(()) => {
            println!("leakcheck: nothing is left");
            Ok(())
        }
        Err(leaks) => {
            print!("{leaks}");
            bail!("{} things differ", leaks.0.len())
        }
    }
}
