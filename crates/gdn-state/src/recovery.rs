//! Reading the journal at start: what counts, what is damaged, what is missing.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::damage::{Damage, DamageKind, Quarantine};
use crate::error::{At, Error, Result};
use crate::header::{self, Header, Parsed};
use crate::identity::{self, Stored};
use crate::record::Record;
use crate::scan::{Scan, scan};
use crate::segment::{self, Segment};
use crate::{files, journal};

/// What the segments hold.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) engine: u64,
    /// Whether the id is new, known from no file.
    pub(crate) minted: bool,
    /// Whether the id file has to be written (again).
    pub(crate) identity_unwritten: bool,
    /// Every record that can be trusted, in order.
    pub(crate) records: Vec<Record>,
    pub(crate) damages: Vec<Damage>,
    pub(crate) next_seq: u64,
    pub(crate) next_number: u64,
    pub(crate) full_bytes: u64,
    /// The last segment, if it can be appended to.
    pub(crate) current: Option<Segment>,
}

/// A segment file that was read.
struct Loaded {
    path: PathBuf,
    file: File,
    header: Header,
    copies_agree: bool,
    bytes: Vec<u8>,
}

/// Reads the journal of `dir`. Files are moved into the quarantine, or removed when a base supersedes them; nothing is
/// written into a segment.
pub(crate) fn recover(dir: &Path, quarantine: &Quarantine) -> Result<Recovered> {
    let identity_path = dir.join(crate::store::IDENTITY);
    let stored = identity::read(&identity_path)?;
    remove_unpublished(dir)?;
    let listed = journal::list(dir)?;
    let next_number = listed.last().map_or(1, |(number, _)| number + 1);
    let mut damages = Vec::new();
    let mut segments = load(&listed, quarantine, &mut damages)?;
    let engine = choose_engine(&segments, &stored)?;
    set_aside_foreign(&mut segments, engine, quarantine, &mut damages)?;
    if stored == Stored::Damaged {
        damages.push(Damage::new(&identity_path, DamageKind::Identity, 0..=0));
    }
    let first_start = stored == Stored::Missing && listed.is_empty();
    let mut recovered = Recovered {
        engine,
        minted: segments.is_empty() && !matches!(stored, Stored::Engine(_)),
        identity_unwritten: stored != Stored::Engine(engine),
        records: vec![],
        damages,
        next_seq: 1,
        next_number,
        full_bytes: 0,
        current: None,
    };
    drop_superseded(&mut segments);
    if segments.is_empty() && !first_start && recovered.damages.iter().all(|damage| !damage.loses_data()) {
        // The store has a name, so it once had a segment.
        recovered.damages.push(Damage::new(&dir.join(segment::name(1)), DamageKind::Missing, 0..=0));
    }
    replay(segments, quarantine, &mut recovered)?;
    Ok(recovered)
}

/// Removes what a crash left of segments that were being made.
fn remove_unpublished(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).at("list", dir)? {
        let entry = entry.at("list", dir)?;
        let name = entry.file_name();
        let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".tmp")) else { continue };
        if segment::number_of(&format!("{stem}.seg")).is_some()
            && entry.path().symlink_metadata().is_ok_and(|m| m.is_file())
        {
            files::remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

fn load(
    listed: &[(u64, PathBuf)],
    quarantine: &Quarantine,
    damages: &mut Vec<Damage>,
) -> Result<Vec<Loaded>> {
    let mut segments = Vec::new();
    for (number, path) in listed {
        let Some(file) = files::open_existing(path)? else { continue };
        let head = segment::read(path, &file, header::DATA_START as u64)?;
        let kind = match header::parse(&head) {
            Parsed::Unknown(version) => {
                return Err(Error::UnknownFormat { path: path.clone(), version, supported: header::VERSION });
            }
            Parsed::Header(header, copies_agree) if header.number == *number => {
                // Only now: a gigabyte of junk need not be read to be known as junk.
                let bytes = segment::read(path, &file, segment::MAX_READ)?;
                segments.push(Loaded { path: path.clone(), file, header, copies_agree, bytes });
                continue;
            }
            Parsed::Header(..) => DamageKind::Misplaced,
            Parsed::Damaged => DamageKind::Segment,
        };
        let len = file.metadata().at("stat", path)?.len();
        let mut damage = Damage::new(path, kind, 0..=len.saturating_sub(1));
        damage.quarantined = Some(quarantine.move_aside(path)?);
        damages.push(damage);
    }
    Ok(segments)
}

/// The file's word counts; without it the latest segment's.
fn choose_engine(segments: &[Loaded], stored: &Stored) -> Result<u64> {
    match (stored, segments.last()) {
        (Stored::Engine(engine), _) => Ok(*engine),
        (_, Some(last)) => Ok(last.header.engine),
        (_, None) => journal::random_u64(),
    }
}

fn set_aside_foreign(
    segments: &mut Vec<Loaded>,
    engine: u64,
    quarantine: &Quarantine,
    damages: &mut Vec<Damage>,
) -> Result<()> {
    for foreign in segments.extract_if(.., |segment| segment.header.engine != engine) {
        let mut damage =
            Damage::new(&foreign.path, DamageKind::Misplaced, 0..=foreign.bytes.len() as u64 - 1);
        damage.quarantined = Some(quarantine.move_aside(&foreign.path)?);
        damages.push(damage);
    }
    Ok(())
}

/// Leaves the last base and what follows it. The files of the others go with the next rewrite, or now.
fn drop_superseded(segments: &mut Vec<Loaded>) {
    let Some(base) = segments.iter().rposition(|segment| segment.header.base) else { return };
    for old in segments.drain(..base) {
        if let Err(error) = files::remove_if_there(&old.path) {
            tracing::warn!(%error, "could not remove a superseded segment");
        }
    }
}

fn replay(segments: Vec<Loaded>, quarantine: &Quarantine, recovered: &mut Recovered) -> Result<()> {
    let last = segments.len().saturating_sub(1);
    for (position, segment) in segments.into_iter().enumerate() {
        // The first segment that is there need not be the first that was written, unless it is a base.
        let first_seq = segment.header.first_seq;
        let starts_late = position == 0 && !segment.header.base && first_seq > 1;
        if starts_late || (position > 0 && first_seq > recovered.next_seq) {
            report_missing(&segment.path, recovered.next_seq, first_seq - 1, recovered);
        }
        recovered.next_seq = recovered.next_seq.max(first_seq);
        if !segment.copies_agree {
            let damage =
                Damage::new(&segment.path, DamageKind::HeaderCopy, 0..=header::DATA_START as u64 - 1);
            recovered.damages.push(damage);
        }
        let scan = scan(&segment.bytes, segment.header.salt, recovered.next_seq);
        report_regions(&segment, &scan, quarantine, recovered)?;
        let sound = scan.regions.is_empty() && segment.copies_agree;
        take_records(scan.records, &segment.path, recovered);
        if position < last {
            recovered.full_bytes += scan.end as u64;
        } else if sound {
            match Segment::adopt(segment.path, segment.header, segment.file, scan.end as u64) {
                Ok(adopted) => recovered.current = Some(adopted),
                // On a failing disk reading goes on; the next commit begins with a rewrite.
                Err(error) => tracing::warn!(%error, "the last segment cannot be made durable"),
            }
        }
    }
    Ok(())
}

/// Takes the records over and notices gaps that no region explains: pages of zeros, for one.
fn take_records(records: Vec<Record>, path: &Path, recovered: &mut Recovered) {
    for record in records {
        let explained = recovered.damages.iter().any(|damage| {
            damage.path == path && damage.lost.as_ref().is_some_and(|lost| lost.contains(&recovered.next_seq))
        });
        if record.seq > recovered.next_seq && !explained {
            report_missing(path, recovered.next_seq, record.seq - 1, recovered);
        }
        recovered.next_seq = record.seq + 1;
        recovered.records.push(record);
    }
}

fn report_missing(path: &Path, first: u64, last: u64, recovered: &mut Recovered) {
    let mut damage = Damage::new(path, DamageKind::Missing, 0..=0);
    damage.lost = Some(first..=last);
    recovered.damages.push(damage);
}

fn report_regions(
    segment: &Loaded,
    scan: &Scan,
    quarantine: &Quarantine,
    recovered: &mut Recovered,
) -> Result<()> {
    for region in &scan.regions {
        let kind = if region.tail { DamageKind::TornTail } else { DamageKind::Records };
        let mut damage = Damage::new(&segment.path, kind, region.start as u64..=region.end as u64 - 1);
        damage.lost.clone_from(&region.lost);
        damage.keys.clone_from(&region.keys);
        let name = format!("{}-{}.bytes", segment::name(segment.header.number), region.start);
        match quarantine.keep_bytes(&name, &segment.bytes[region.start..region.end]) {
            Ok(path) => damage.quarantined = Some(path),
            // On a full disk reading goes on; the segment stays as it is until the journal can be rewritten.
            Err(error) => tracing::warn!(%error, "could not keep damaged bytes aside"),
        }
        recovered.damages.push(damage);
    }
    Ok(())
}
