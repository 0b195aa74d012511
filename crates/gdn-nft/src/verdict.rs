//! Verdicts: what happens to a packet.

use crate::Result;
use crate::attribute::{Attributes, Writer};
use crate::name::check_name;

/// What happens to a packet next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes this base chain.
    Accept,
    /// It is dropped at once.
    Drop,
    /// The chain of this name, then the next rule.
    Jump(String),
    /// The chain of this name, without coming back.
    Goto(String),
    /// The rule after the jump; in a base chain the policy.
    Return,
}

const CODE: u16 = 1;
const CHAIN: u16 = 2;
const JUMP: i32 = -3;
const GOTO: i32 = -4;
const RETURN: i32 = -5;

impl Verdict {
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Verdict::Jump(chain) | Verdict::Goto(chain) => check_name("chain", chain),
            _ => Ok(()),
        }
    }

    /// Writes `NFTA_VERDICT_*`.
    pub(crate) fn write(&self, to: &mut Writer<'_>) {
        let (code, chain) = match self {
            Verdict::Drop => (0, None),
            Verdict::Accept => (1, None),
            Verdict::Jump(chain) => (JUMP, Some(chain)),
            Verdict::Goto(chain) => (GOTO, Some(chain)),
            Verdict::Return => (RETURN, None),
        };
        to.number32(CODE, code.cast_unsigned());
        if let Some(chain) = chain {
            to.string(CHAIN, chain);
        }
    }

    /// Reads `NFTA_VERDICT_*`; `None` for what this crate does not write.
    pub(crate) fn read(from: Attributes<'_>) -> Option<Verdict> {
        match from.number32(CODE)?.cast_signed() {
            0 => Some(Verdict::Drop),
            1 => Some(Verdict::Accept),
            JUMP => Some(Verdict::Jump(from.string(CHAIN)?)),
            GOTO => Some(Verdict::Goto(from.string(CHAIN)?)),
            RETURN => Some(Verdict::Return),
            _ => None,
        }
    }
}
