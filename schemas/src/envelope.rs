//! Signed envelopes: `{"signed":{…},"signature":"base64"}`, the signature covering the exact text of `signed`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::id::{Boot, ClusterName, ProgramId};
use crate::message::{Message, Role};

/// The version of the wire vocabulary. A new variant anywhere raises it; new fields do not.
pub const VERSION: u32 = 1;

/// The largest envelope in bytes, on both carriers.
pub const MAX_BYTES: usize = 256 * 1024;

/// What the signature covers.
#[derive(Serialize)]
struct Signed {
    version: u32,
    cluster: ClusterName,
    digest: String,
    sender: ProgramId,
    target: Option<ProgramId>,
    /// The run of the target that the sender had heard last, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Boot>,
    boot: Boot,
    sequence: u64,
    body: Box<RawValue>,
}

#[derive(Serialize)]
struct Wire {
    signed: Box<RawValue>,
    signature: String,
}

/// A message whose signature was verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// Who signed it.
    pub sender: ProgramId,
    /// Whom it is meant for; `None` is everybody.
    pub target: Option<ProgramId>,
    /// The sender's run.
    pub boot: Boot,
    /// Counts the sender's messages of this run; both carriers bring the same number.
    pub sequence: u64,
    /// True if the sender's cluster file is the same as ours.
    pub same_configuration: bool,
    /// The message.
    pub message: Message,
}

/// Why an envelope was dropped. Each is counted and shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Larger than [`MAX_BYTES`].
    #[error("an envelope of {0} bytes is larger than {MAX_BYTES}")]
    Oversized(usize),
    /// Not the form of an envelope.
    #[error("no envelope: {0}")]
    Malformed(String),
    /// Signed by somebody whom the cluster file does not name.
    #[error("sender {0} is not in the cluster file")]
    Unknown(ProgramId),
    /// The signature is not the sender's.
    #[error("the signature is not that of {0}")]
    Forged(ProgramId),
    /// Meant for another cluster.
    #[error("meant for cluster {0}")]
    Foreign(ClusterName),
    /// Meant for another program.
    #[error("meant for {0}")]
    Misdirected(ProgramId),
    /// Meant for another run of this program.
    #[error("meant for run {0} of this program")]
    Outlived(Boot),
    /// A genuine signature under something that the sender may not say.
    #[error("{0} may not say this")]
    NotTheirs(ProgramId),
    /// Of another version of the vocabulary.
    #[error("version {0} is not {VERSION}")]
    Version(u32),
}

/// Signs the messages of one program in one cluster.
pub struct Sealer {
    key: SigningKey,
    cluster: ClusterName,
    digest: String,
    sender: ProgramId,
    boot: Boot,
    sequence: u64,
}

impl Sealer {
    /// A sealer for one run. `digest` is the SHA-256 of the cluster file in hexadecimal.
    #[must_use]
    pub const fn new(key: SigningKey, cluster: ClusterName, digest: String, sender: ProgramId, boot: Boot) -> Self {
        Self { key, cluster, digest, sender, boot, sequence: 0 }
    }

    /// The text of a signed envelope, with the next sequence number. A target is named with the run that was heard of it
    /// last, if any was.
    ///
    /// # Errors
    /// [`Rejected::Oversized`] when the envelope would be too large for the carriers, [`Rejected::Malformed`] when the
    /// message has no JSON form.
    pub fn seal(&mut self, target: Option<(&ProgramId, Option<Boot>)>, message: &Message) -> Result<String, Rejected> {
        let malformed = |error: serde_json::Error| Rejected::Malformed(error.to_string());
        self.sequence += 1;
        let signed = Signed {
            version: VERSION,
            cluster: self.cluster.clone(),
            digest: self.digest.clone(),
            sender: self.sender.clone(),
            target: target.map(|(program, _)| program.clone()),
            run: target.and_then(|(_, run)| run),
            boot: self.boot,
            sequence: self.sequence,
            body: serde_json::value::to_raw_value(message).map_err(malformed)?,
        };
        let signed = serde_json::value::to_raw_value(&signed).map_err(malformed)?;
        let signature = STANDARD.encode(self.key.sign(signed.get().as_bytes()).to_bytes());
        let text = serde_json::to_string(&Wire { signed, signature }).map_err(malformed)?;
        if text.len() > MAX_BYTES {
            return Err(Rejected::Oversized(text.len()));
        }
        Ok(text)
    }
}

/// A received [`Signed`], which copies nothing that is only compared.
#[derive(Deserialize)]
struct Received<'a> {
    version: u32,
    #[serde(borrow)]
    cluster: Cow<'a, str>,
    #[serde(borrow)]
    digest: Cow<'a, str>,
    sender: ProgramId,
    target: Option<ProgramId>,
    run: Option<Boot>,
    boot: Boot,
    sequence: u64,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct ReceivedWire<'a> {
    #[serde(borrow)]
    signed: &'a RawValue,
    #[serde(borrow)]
    signature: Cow<'a, str>,
}

/// Verifies what arrives at one program in one cluster.
#[derive(Clone, Debug)]
pub struct Opener {
    cluster: ClusterName,
    digest: String,
    receiver: ProgramId,
    run: Option<Boot>,
    keys: BTreeMap<ProgramId, (Role, VerifyingKey)>,
}

impl Opener {
    /// An opener that knows the public keys of the cluster file.
    #[must_use]
    pub const fn new(
        cluster: ClusterName,
        digest: String,
        receiver: ProgramId,
        keys: BTreeMap<ProgramId, (Role, VerifyingKey)>,
    ) -> Self {
        Self { cluster, digest, receiver, run: None, keys }
    }

    /// The same for one run of the receiver: what was said to another one, which may have been long ago, is refused.
    #[must_use]
    pub const fn of_run(mut self, run: Boot) -> Self {
        self.run = Some(run);
        self
    }

    /// Verifies one envelope.
    ///
    /// # Errors
    /// [`Rejected`] says why the envelope must be dropped.
    pub fn open(&self, text: &str) -> Result<Opened, Rejected> {
        self.open_from(None, text)
    }

    /// The same of one that came over a connection on which `peer` proved to hold its key: what it says of itself there is
    /// its own, and the signature need not prove that once more. Verifying is three quarters of what a message costs.
    ///
    /// # Errors
    /// [`Rejected`] says why the envelope must be dropped.
    pub fn open_from(&self, peer: Option<&ProgramId>, text: &str) -> Result<Opened, Rejected> {
        let malformed = |error: serde_json::Error| Rejected::Malformed(error.to_string());
        if text.len() > MAX_BYTES {
            return Err(Rejected::Oversized(text.len()));
        }
        let wire: ReceivedWire<'_> = serde_json::from_str(text).map_err(malformed)?;
        let signed: Received<'_> = serde_json::from_str(wire.signed.get()).map_err(malformed)?;
        let Some((role, key)) = self.keys.get(&signed.sender) else {
            return Err(Rejected::Unknown(signed.sender));
        };
        // Not `verify_strict`: what it adds, a look for points of small order, matters for keys of the sender's choice.
        // These come from the cluster file, which takes no weak one. It costs a tenth of all that a message costs.
        let is_signed = || {
            let bytes = STANDARD.decode(wire.signature.as_ref()).ok();
            let signature = bytes.and_then(|bytes| Signature::from_slice(&bytes).ok());
            signature.is_some_and(|signature| key.verify(wire.signed.get().as_bytes(), &signature).is_ok())
        };
        if peer != Some(&signed.sender) && !is_signed() {
            return Err(Rejected::Forged(signed.sender));
        }
        if signed.cluster != self.cluster.as_str() {
            let cluster = signed.cluster.parse();
            return Err(cluster.map_or_else(|error| Rejected::Malformed(error.to_string()), Rejected::Foreign));
        }
        if signed.version != VERSION {
            return Err(Rejected::Version(signed.version));
        }
        if let Some(target) = &signed.target
            && *target != self.receiver
        {
            return Err(Rejected::Misdirected(target.clone()));
        }
        if let (Some(own), Some(meant)) = (self.run, signed.run)
            && own != meant
        {
            return Err(Rejected::Outlived(meant));
        }
        let message = message(signed.body.get()).map_err(malformed)?;
        if !message.lawful_from(*role, &signed.sender) {
            return Err(Rejected::NotTheirs(signed.sender));
        }
        Ok(Opened {
            same_configuration: signed.digest == self.digest,
            message,
            sender: signed.sender,
            target: signed.target,
            boot: signed.boot,
            sequence: signed.sequence,
        })
    }
}

/// Reads a body. Most of them are observations: told by how their senders write them, they are read in one pass.
fn message(body: &str) -> Result<Message, serde_json::Error> {
    if body.starts_with(r#"{"type":"observation","#) {
        return serde_json::from_str(body).map(Message::Observation);
    }
    serde_json::from_str(body)
}
