//! Versions of servers, as they print them. Replicas cannot be relied on to follow a source newer than themselves.

/// What is compared of a version: `10.11.19-MariaDB-log` is (10, 11, 19).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32, u32);

impl Version {
    /// Reads a version; `None` if it does not begin with two numbers.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // MariaDB's older ones pretend to be MySQL 5.5.5 to replicas that know no version above 9.
        let text = text.strip_prefix("5.5.5-").unwrap_or(text);
        let mut numbers = text.split(['.', '-', '+', '~']).map_while(|part| part.parse::<u32>().ok());
        Some(Self(numbers.next()?, numbers.next()?, numbers.next().unwrap_or(0)))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let version = |text| Version::parse(text).unwrap();
        assert_eq!(version("10.11.19-MariaDB-log"), Version(10, 11, 19));
        assert_eq!(version("5.5.5-10.6.4-MariaDB"), Version(10, 6, 4));
        assert_eq!(version("10.11"), Version(10, 11, 0));
        assert!(version("8.0.36") < version("8.0.100") && version("9.7.4") < version("10.6.0"));
        assert_eq!(Version::parse("unknown"), None);
    }
}
