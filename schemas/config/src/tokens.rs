//! The token file: who may watch, and who may act. Tokens are random and long, so their SHA-256 is all that is kept.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use tasuki_schemas::id::{ClusterName, TokenName};

use crate::findings::{Finding, Findings};

const FORM: &str = "write `NAME ROLE CLUSTERS sha256:HEX`, or let `tasuki-coordinator token` write it";

/// What a token's holder may do. A greater role may do everything that a smaller one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees states and times; no host, address, SQL or GTID.
    Public,
    /// Sees everything, and posts notes.
    Viewer,
    /// Also hands over, pauses and resumes.
    Operator,
    /// Also sees what concerns the coordinator itself.
    Admin,
}

const ROLES: [(Role, &str); 4] =
    [(Role::Public, "public"), (Role::Viewer, "viewer"), (Role::Operator, "operator"), (Role::Admin, "admin")];

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ROLES.iter().find(|(role, _)| role == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = ROLES.iter().find(|(_, name)| *name == text).map(|(role, _)| *role);
        found.ok_or_else(|| format!("{text:?} is no role; write public, viewer, operator or admin"))
    }
}

/// For which clusters a token counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clusters {
    /// All, those to come included.
    All,
    /// These.
    Named(BTreeSet<ClusterName>),
}

impl fmt::Display for Clusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Named(names) => f.write_str(&names.iter().map(ClusterName::as_str).collect::<Vec<_>>().join(",")),
        }
    }
}

impl FromStr for Clusters {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::All);
        }
        let names: Result<_, _> = text.split(',').map(ClusterName::from_str).collect();
        names.map(Self::Named).map_err(|error| format!("{error}; write clusters as main,shop or * for all"))
    }
}

/// What a token opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose token it is: it stands beside notes and acts.
    pub name: TokenName,
    /// What its holder may do.
    pub role: Role,
    /// With which clusters.
    pub clusters: Clusters,
}

impl Grant {
    /// Whether it counts for a cluster.
    #[must_use]
    pub fn sees(&self, cluster: &ClusterName) -> bool {
        match &self.clusters {
            Clusters::All => true,
            Clusters::Named(names) => names.contains(cluster),
        }
    }
}

/// A token's SHA-256.
type Hash = [u8; 32];

fn hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

/// Which token is meant, without a word of it: made of its hash, and of no use to find that or the token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenMark([u8; 16]);

impl TokenMark {
    /// The mark of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self::of_hash(&hash(token))
    }

    fn of_hash(hash: &Hash) -> Self {
        let digest = Sha256::new_with_prefix(b"tasuki token mark").chain_update(hash).finalize();
        let mut mark = [0; 16];
        mark.iter_mut().zip(digest).for_each(|(byte, from)| *byte = from);
        Self(mark)
    }
}

impl fmt::Display for TokenMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for TokenMark {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        unhex(text).map(Self).ok_or(())
    }
}

/// The lines of a token file.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TokenFile(Vec<(Hash, TokenMark, Grant)>);

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

impl TokenFile {
    /// Reads a token file's text: the lines that are right, and what is wrong with the others.
    #[must_use]
    pub fn read(file: &Path, text: &str) -> (Self, Findings) {
        let (mut read, mut findings) = (Self::default(), Findings::default());
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let entry = entry(line).and_then(|(hash, grant)| match read.grant(&hash) {
                Some(other) => Err(format!("this is the token of {} again; remove one of the lines", other.name)),
                None => Ok((hash, grant)),
            });
            match entry {
                Ok((hash, grant)) => read.0.push((hash, TokenMark::of_hash(&hash), grant)),
                // The line itself is not repeated: it may be a token that was written down as it is.
                Err(what) => findings.0.push(Finding { file: file.to_owned(), line: at + 1, what }),
            }
        }
        (read, findings)
    }

    /// What a token opens. Takes equally long whatever differs.
    #[must_use]
    pub fn admit(&self, token: &str) -> Option<&Grant> {
        self.grant(&hash(token))
    }

    /// What the token of a mark opens, which was shown before.
    #[must_use]
    pub fn marked(&self, mark: &TokenMark) -> Option<&Grant> {
        self.0.iter().find(|(_, kept, _)| kept == mark).map(|(.., grant)| grant)
    }

    fn grant(&self, shown: &Hash) -> Option<&Grant> {
        let equal = |kept: &Hash| kept.iter().zip(shown).fold(0_u8, |differing, (a, b)| differing | (a ^ b)) == 0;
        self.0.iter().fold(None, |found, (kept, _, grant)| if equal(kept) { Some(grant) } else { found })
    }

    /// Whether it opens nothing to anybody.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn entry(line: &str) -> Result<(Hash, Grant), String> {
    let mut fields = line.split_whitespace();
    let (Some(name), Some(role), Some(clusters), Some(digest), None) =
        (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(format!("this is no token's line; {FORM}"));
    };
    let digest = digest.strip_prefix("sha256:").and_then(unhex);
    let digest = digest.ok_or_else(|| format!("sha256: and 64 hexadecimal digits must stand last; {FORM}"))?;
    let name = name.parse().map_err(|_| {
        format!("a token's name is 1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit; {FORM}")
    })?;
    Ok((digest, Grant { name, role: role.parse()?, clusters: clusters.parse()? }))
}

/// The bytes of a hexadecimal text of just their length.
#[must_use]
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// The line that lets a token in.
#[must_use]
pub fn token_line(grant: &Grant, token: &str) -> String {
    let mut line = format!("{} {} {} sha256:", grant.name, grant.role, grant.clusters);
    for byte in hash(token) {
        // Writing to a text cannot fail.
        let _ = write!(line, "{byte:02x}");
    }
    line
}

/// Adds a token's line to a file, which is made (mode 0600) if there is none.
///
/// # Errors
/// The system's.
pub fn add_token(file: &Path, grant: &Grant, token: &str) -> io::Result<()> {
    let mut file = fs::File::options().read(true).append(true).create(true).mode(0o600).open(file)?;
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    let newline = if last == *b"\n" { "" } else { "\n" };
    file.write_all(format!("{newline}{}\n", token_line(grant, token)).as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(name: &str, role: Role, clusters: &str) -> Grant {
        Grant { name: name.parse().unwrap(), role, clusters: clusters.parse().unwrap() }
    }

    #[test]
    fn only_a_token_of_the_file_opens_what_its_line_says() {
        let wall = grant("wall", Role::Viewer, "main,shop");
        let text = format!("# screens\n{}\n\n{} # hers\n", token_line(&wall, "one"), {
            token_line(&grant("ann", Role::Operator, "*"), "two")
        });
        let (tokens, findings) = TokenFile::read(Path::new("t"), &text);
        assert_eq!(findings.0, []);
        assert_eq!(tokens.admit("one"), Some(&wall));
        assert!(tokens.admit("").is_none() && tokens.admit("three").is_none());
        let (main, other) = ("main".parse().unwrap(), "other".parse().unwrap());
        assert!(wall.sees(&main) && !wall.sees(&other));
        let ann = tokens.admit("two").unwrap();
        assert!(ann.sees(&other) && ann.role > Role::Viewer);
        assert_eq!(format!("{tokens:?}"), "2 tokens");
        let mark: TokenMark = TokenMark::of("one").to_string().parse().unwrap();
        assert_eq!((tokens.marked(&mark), tokens.marked(&TokenMark::of("three"))), (Some(&wall), None));
        assert!(!text.contains(&mark.to_string()) && "".parse::<TokenMark>().is_err());
    }

    #[test]
    fn what_is_no_tokens_line_is_named_with_the_fix_and_not_repeated() {
        let hex = "ab".repeat(32);
        let good = format!("a viewer * sha256:{hex}");
        let text = format!(
            "a-plain-token\nA viewer * sha256:{hex}\na owner * sha256:{hex}\na viewer Main sha256:{hex}\na viewer * \
             {hex}\na viewer * sha256:{hex}0\na viewer * sha256:+{}\n{good}\n{good}\n",
            &hex[1..]
        );
        let (tokens, findings) = TokenFile::read(Path::new("t"), &text);
        let said: Vec<String> = findings.0.iter().map(ToString::to_string).collect();
        let begins = [
            "t:1: this is no token's line; write `NAME ROLE CLUSTERS sha256:HEX`",
            "t:2: a token's name is 1 to 63",
            "t:3: \"owner\" is no role; write public",
            "t:4: \"Main\" is no name",
            "t:5: sha256: and 64 hexadecimal digits must stand last",
            "t:6: sha256: and 64",
            "t:7: sha256: and 64",
            "t:9: this is the token of a again; remove one of the lines",
        ];
        assert_eq!(said.len(), begins.len(), "{said:?}");
        for (said, begin) in said.iter().zip(begins) {
            assert!(said.starts_with(begin) && !said.contains("a-plain-token") && !said.contains(&hex), "{said}");
        }
        assert_eq!(tokens.0.len(), 1);
    }

    #[test]
    fn a_token_is_added_to_a_file_of_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = std::env::temp_dir().join(format!("tasuki-tokens-{}", std::process::id()));
        let _ = fs::remove_file(&file);
        add_token(&file, &grant("a", Role::Public, "*"), "one").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.trim_end()).unwrap();
        add_token(&file, &grant("b", Role::Admin, "main"), "two").unwrap();
        let (tokens, findings) = TokenFile::read(&file, &fs::read_to_string(&file).unwrap());
        assert_eq!((tokens.0.len(), findings.0.len()), (2, 0));
        assert_eq!(tokens.admit("two").unwrap().role, Role::Admin);
        fs::remove_file(&file).unwrap();
    }
}
