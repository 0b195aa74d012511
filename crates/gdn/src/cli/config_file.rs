//! Options out of a file: `--config FILE`, in the form that Guardian's operators have.
//!
//! ```text
//! ; a comment; # begins one too
//! [server]
//!   network-pool = 10.254.0.0/22
//!   allow-host-access = true
//!   dns-server = 10.0.0.2
//!   dns-server = 10.0.0.3
//! ```
//!
//! A section is a verb, a key the name of one of its options without the dashes; a key of an option that may be repeated may be
//! repeated. What the command line (or the environment) says takes the place of what the file says of that option. Anything
//! that is not understood is an error that names the line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, CommandFactory};

use super::Cli;

/// The verbs that take options out of a file.
const SECTIONS: [&str; 3] = ["server", "setup", "cleanup"];

/// Options that a file cannot hold.
const NEVER: [&str; 4] = ["config", "help", "version", "address"];

/// The largest file, bytes.
const MOST: u64 = 1 << 20;

/// Where options are besides the command line.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ConfigFile {
    /// File with options of the server: NAME = VALUE, a line each, in a section of the command's name; the command line wins
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// One line of the file that is an option.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    line: usize,
    section: String,
    key: String,
    value: String,
}

/// The command line, with what the file that it names adds to it. One that names none, or that cannot be understood, is
/// answered as it is.
///
/// # Errors
/// A file that cannot be read, and a line of it that cannot be meant.
pub(crate) fn applied(arguments: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    // What the command line lacks may stand in the file: it is looked at as far as it goes.
    let Ok(matches) = Cli::command().ignore_errors(true).try_get_matches_from(&arguments) else {
        return Ok(arguments);
    };
    let Some((verb, given)) = matches.subcommand() else { return Ok(arguments) };
    let Some(path) = named(&matches).or_else(|| named(given)) else { return Ok(arguments) };
    if !SECTIONS.contains(&verb) {
        bail!("gdn {verb} takes no options out of a file: only {} do", SECTIONS.join(", "));
    }
    let text = read(path)?;
    let added = added(&text, verb, given).with_context(|| format!("in the file {}", path.display()))?;
    Ok(arguments.into_iter().chain(added.into_iter().map(OsString::from)).collect())
}

/// The file that a command names.
fn named(matches: &ArgMatches) -> Option<&Path> {
    matches.try_get_one::<PathBuf>("config").ok().flatten().map(PathBuf::as_path)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let failed = || format!("cannot read the file {}", path.display());
    let file = std::fs::File::open(path).with_context(failed)?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(file, MOST + 1), &mut text)
        .with_context(failed)?;
    if text.len() as u64 > MOST {
        bail!("the file {} is longer than {MOST} bytes", path.display());
    }
    Ok(text)
}

/// The options of a verb that the file has and the command line does not, as arguments.
fn added(text: &str, verb: &str, given: &ArgMatches) -> anyhow::Result<Vec<String>> {
    let mut command = Cli::command();
    command.build();
    let mut arguments = Vec::new();
    let mut seen: Vec<(String, usize)> = Vec::new();
    for Entry { line, section, key, value } in entries(text)? {
        let options = command.find_subcommand(&section).context("a section is a verb")?;
        let unknown = || format!("line {line}: gdn {section} has no option {key:?}");
        let option = options.get_arguments().find(|option| is_called(option, &key)).with_context(unknown)?;
        let argument = argument(option, &key, &value).with_context(|| format!("line {line}: {key}"))?;
        let Some(argument) = argument else { continue };
        let id = option.get_id().as_str();
        let repeatable = matches!(option.get_action(), ArgAction::Append | ArgAction::Count);
        match seen.iter().find(|(known, _)| known == &format!("{section} {id}")) {
            Some((_, first)) if !repeatable => bail!("line {line}: {key} is said in line {first} already"),
            _ => seen.push((format!("{section} {id}"), line)),
        }
        valid(&section, &argument).with_context(|| format!("line {line}"))?;
        if section == verb && !stands_elsewhere(given, id) {
            arguments.push(argument);
        }
    }
    Ok(arguments)
}

/// Whether the command line or the environment says something about the option.
fn stands_elsewhere(given: &ArgMatches, id: &str) -> bool {
    matches!(given.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

fn is_called(option: &Arg, key: &str) -> bool {
    let aliases = option.get_all_aliases().into_iter().flatten();
    let mut names = option.get_long().into_iter().chain(aliases);
    !NEVER.contains(&option.get_id().as_str()) && names.any(|name| name == key)
}

/// The option as an argument; none for a switch that is off.
fn argument(option: &Arg, key: &str, value: &str) -> anyhow::Result<Option<String>> {
    if option.get_action().takes_values() {
        return Ok(Some(format!("--{key}={value}")));
    }
    match value {
        "true" | "" => Ok(Some(format!("--{key}"))),
        "false" => Ok(None),
        other => bail!("{other:?} is neither true nor false"),
    }
}

/// Refuses a value that the option does not take, as the command line would, so that its line can be named.
fn valid(section: &str, argument: &str) -> anyhow::Result<()> {
    match Cli::command().try_get_matches_from(["gdn", section, argument]) {
        Err(error) if matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            bail!("{}", first.trim_start_matches("error: "))
        }
        // What else it may need stands elsewhere, or is told when everything is together.
        _ => Ok(()),
    }
}

fn entries(text: &str) -> anyhow::Result<Vec<Entry>> {
    let mut section: Option<&str> = None;
    let mut entries = Vec::new();
    for (number, content) in text.lines().enumerate() {
        let (line, content) = (number + 1, content.trim());
        if content.is_empty() || content.starts_with([';', '#']) {
            continue;
        }
        if let Some(name) = content.strip_prefix('[') {
            let name = name.strip_suffix(']').map(str::trim);
            match name.and_then(|name| SECTIONS.into_iter().find(|known| *known == name)) {
                Some(known) => section = Some(known),
                None => bail!("line {line}: {content} is none of [{}]", SECTIONS.join("], [")),
            }
            continue;
        }
        let Some((key, value)) = content.split_once('=') else {
            bail!("line {line}: {content:?} is not of the form NAME = VALUE");
        };
        let Some(section) = section else { bail!("line {line}: {:?} stands before any section", key.trim()) };
        let value = unquoted(value.trim()).with_context(|| format!("line {line}: {}", key.trim()))?;
        entries.push(Entry { line, section: section.to_owned(), key: key.trim().to_owned(), value });
    }
    Ok(entries)
}

/// A value in double quotes is what stands between them, with `\"` and `\\` for those two; any other is as it stands.
fn unquoted(value: &str) -> anyhow::Result<String> {
    let Some(quoted) = value.strip_prefix('"') else { return Ok(value.to_owned()) };
    let (mut text, mut characters) = (String::new(), quoted.chars());
    loop {
        match characters.next() {
            Some('\\') => match characters.next() {
                Some(escaped @ ('"' | '\\')) => text.push(escaped),
                _ => bail!("{value} has a \\ that stands before neither \" nor \\"),
            },
            Some('"') if characters.as_str().is_empty() => return Ok(text),
            Some('"') => bail!("{value} goes on behind its quotes"),
            Some(other) => text.push(other),
            None => bail!("{value} has no closing quote"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(text: &str, line: &str) -> anyhow::Result<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let line = line.replace("FILE", file.path().to_str().unwrap());
        let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        let count = words.len();
        let all = applied(words)?;
        let added: Vec<_> = all[count..].iter().map(|word| word.to_str().unwrap()).collect();
        Ok(added.join(" "))
    }

    fn refusal(text: &str) -> String {
        format!("{:#}", apply(text, "gdn server --config FILE").unwrap_err())
    }

    /// Conformance: Q18-19
    #[test]
    fn a_file_adds_what_the_command_line_does_not_say() {
        let text = "; first\n# second\n\n[server]\n  max-containers = 7\n\tdns-server=10.0.0.2\ndns-server = 10.0.0.3\n\
                    allow-host-access = true\nno-bind-socket = false\ntag = \"\"\nadditional-host-entry = \"a \\\"b\\\" \\\\ = c\"\n\
                    default-rootfs = /x.tar\n";
        let all = "--max-containers=7 --dns-server=10.0.0.2 --dns-server=10.0.0.3 --allow-host-access --tag= \
                   --additional-host-entry=a \"b\" \\ = c --default-rootfs=/x.tar";
        for line in
            ["gdn --config FILE server", "gdn server --config=FILE", "gdn --root /r --config FILE server"]
        {
            assert_eq!(apply(text, line).unwrap(), all, "{line}");
        }
        let won = apply(
            text,
            "gdn server --dns-server 1.1.1.1 --config FILE --max-containers 9 --default-image hello",
        );
        let expected = "--allow-host-access --tag= --additional-host-entry=a \"b\" \\ = c";
        assert_eq!(won.unwrap(), expected);
        assert_eq!(apply("[setup]\n[server]\nmtu = 1400", "gdn --config FILE setup").unwrap(), "");
        assert_eq!(apply("[server]\nroot = /r", "gdn server --config FILE").unwrap(), "--root=/r");
    }

    #[test]
    fn what_the_command_line_lacks_may_stand_in_the_file() {
        let text = "[server]\nbind-ip = 127.0.0.1";
        assert_eq!(apply(text, "gdn server --bind-port 1 --config FILE").unwrap(), "--bind-ip=127.0.0.1");
    }

    /// Conformance: Q20-21
    #[test]
    fn what_is_not_understood_names_its_line() {
        for (text, expected) in [
            ("[server]\n\nmax-containrs = 7", "line 3: gdn server has no option \"max-containrs\""),
            ("max-containers = 7", "line 1: \"max-containers\" stands before any section"),
            ("[server]\nmax-containers", "line 2: \"max-containers\" is not of the form"),
            ("[servers]", "line 1: [servers] is none of [server], [setup], [cleanup]"),
            ("[server", "line 1: [server is none of"),
            ("[server]\nmax-containers = many", "line 2: invalid value 'many' for '--max-containers"),
            ("[server]\nlog-level = loud", "line 2: invalid value 'loud' for '--log-level"),
            (
                "[server]\nallow-host-access = yes",
                "line 2: allow-host-access: \"yes\" is neither true nor false",
            ),
            ("[server]\nmtu = 1400\nmtu = 1500", "line 3: mtu is said in line 2 already"),
            ("[server]\nconfig = /x", "line 2: gdn server has no option \"config\""),
            ("[server]\ntag = \"x", "line 2: tag: \"x has no closing quote"),
            ("[server]\ntag = \"x\"y", "goes on behind its quotes"),
            ("[server]\ntag = \"\\x\"", "stands before neither"),
            ("[cleanup]\nmtux = 1", "line 2: gdn cleanup has no option"),
            ("[server]\n = x", "has no option \"\""),
        ] {
            let refusal = refusal(text);
            assert!(
                refusal.contains(expected) && refusal.starts_with("in the file /"),
                "{text:?}: {refusal}"
            );
        }
        let huge = format!("[server]\n{}", "; long\n".repeat(200_000));
        assert!(refusal(&huge).contains("longer than"), "{}", refusal(&huge));
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let missing = applied(words("gdn --config /no/such.ini server")).unwrap_err();
        assert!(format!("{missing:#}").contains("cannot read the file /no/such.ini"), "{missing:#}");
        assert!(applied(words("gdn --config /no/such.ini list")).is_err());
    }

    #[test]
    fn a_line_without_a_file_stays_as_it_is() {
        for line in
            ["gdn", "gdn server", "gdn server --max-containers 3", "gdn frobnicate --config /x", "gdn --help"]
        {
            let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
            assert_eq!(applied(words.clone()).unwrap(), words, "{line}");
        }
    }
}
