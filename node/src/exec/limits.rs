//! What a child may use: limits of each of its processes (`setrlimit`) and of all of them together (cgroup v2).
//!
//! One list by name holds both. A name with a dot is the cgroup file of that name, the others are the resources of
//! `setrlimit(2)`. A limit that a node cannot set is a failure of the start, never ignored.

use std::collections::BTreeMap;
use std::fmt;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// The period that `cpu.max` is counted over, in microseconds: the kernel's own default.
const CPU_PERIOD_US: f64 = 100_000.0;
/// The kernel takes no less for `cpu.max` than this in a period.
const CPU_QUOTA_US_MIN: f64 = 1_000.0;
/// More processors than any machine has.
const CPUS_MAX: f64 = 100_000.0;

/// Resources that are counted in bytes, so that their values may have a unit.
const IN_BYTES: [&str; 7] = ["core", "data", "fsize", "memlock", "memory", "stack", "memory.max"];
/// Resources that are counted in anything else.
const COUNTED: [&str; 5] = ["cpu", "nofile", "nproc", "sigpending", "pids.max"];
/// The share of processors, which may be a fraction.
const CPU_MAX: &str = "cpu.max";

/// Limits by name, each as its value was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Limits(BTreeMap<String, Value>);

/// A limit as people write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a limit is a number or a text")]
enum Value {
    Number(serde_json::Number),
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(formatter),
            Self::Text(text) => text.fmt(formatter),
        }
    }
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Limits from pairs of a name and a value; of two with the same name the later one counts.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name, Value::Text(value))).collect())
    }

    /// Whether every name and value makes sense. The error is one sentence.
    pub fn check(&self) -> Result<(), String> {
        for (name, value) in &self.0 {
            match name.as_str() {
                CPU_MAX => drop(cpu_quota(value)?),
                name if name.contains('.') => drop(single(name, &value.to_string())?),
                name => {
                    let (soft, hard) = soft_and_hard(name, value)?;
                    if soft > hard {
                        return Err(format!("{name}={value}: the soft limit is above the hard one"));
                    }
                }
            }
        }
        Ok(())
    }

    /// The cgroup files to write and what to write into each.
    pub(super) fn of_cgroup(&self) -> Result<Vec<(&str, String)>, String> {
        let of_cgroup = self.0.iter().filter(|(name, _)| name.contains('.'));
        let text = |(name, value): (&'_ String, &Value)| match name.as_str() {
            CPU_MAX => cpu_quota(value),
            name => single(name, &value.to_string()).map(|limit| match limit {
                RLIM_INFINITY => "max".into(),
                limit => limit.to_string(),
            }),
        };
        of_cgroup.map(|(name, value)| Ok((name.as_str(), text((name, value))?))).collect()
    }

    /// Sets the limits of this process, which its children and whatever it executes inherit.
    pub(super) fn set_own(&self) -> Result<(), String> {
        for (name, value) in self.0.iter().filter(|(name, _)| !name.contains('.')) {
            let (soft, hard) = soft_and_hard(name, value)?;
            let resource = resource(name).ok_or_else(|| unknown(name))?;
            setrlimit(resource, soft, hard).map_err(|error| {
                let own = match getrlimit(resource) {
                    Ok((_, RLIM_INFINITY)) | Err(_) => "unlimited".to_owned(),
                    Ok((_, hard)) => hard.to_string(),
                };
                match error {
                    nix::Error::EPERM => {
                        format!("the limit {name}={value} cannot be set: this node may not go above its own, {own}")
                    }
                    error => format!("the limit {name}={value} cannot be set: {}", error.desc()),
                }
            })?;
        }
        Ok(())
    }
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "core" => Resource::RLIMIT_CORE,
        "cpu" => Resource::RLIMIT_CPU,
        "data" => Resource::RLIMIT_DATA,
        "fsize" => Resource::RLIMIT_FSIZE,
        "memlock" => Resource::RLIMIT_MEMLOCK,
        "memory" => Resource::RLIMIT_AS,
        "nofile" => Resource::RLIMIT_NOFILE,
        "nproc" => Resource::RLIMIT_NPROC,
        "sigpending" => Resource::RLIMIT_SIGPENDING,
        "stack" => Resource::RLIMIT_STACK,
        _ => return None,
    })
}

fn unknown(name: &str) -> String {
    let mut all: Vec<_> = IN_BYTES.into_iter().chain(COUNTED).chain([CPU_MAX]).collect();
    all.sort_unstable_by_key(|name| (name.contains('.'), *name));
    format!("{name:?} is not one of {}", all.join(", "))
}

/// `SOFT:HARD`, or one value for both.
fn soft_and_hard(name: &str, value: &Value) -> Result<(u64, u64), String> {
    let text = value.to_string();
    match text.split_once(':') {
        Some((soft, hard)) => Ok((single(name, soft)?, single(name, hard)?)),
        None => single(name, &text).map(|both| (both, both)),
    }
}

/// A number, with a unit where bytes are counted, or `unlimited`.
fn single(name: &str, text: &str) -> Result<u64, String> {
    let (is_bytes, is_known) = (IN_BYTES.contains(&name), COUNTED.contains(&name));
    if !is_bytes && !is_known {
        return Err(unknown(name));
    }
    if text == "unlimited" {
        return Ok(RLIM_INFINITY);
    }
    let wrong = || match is_bytes {
        true => format!("{name}={text}: not a number of bytes such as 4096, 64M or 2G, nor unlimited"),
        false => format!("{name}={text}: not a number, nor unlimited"),
    };
    let unit = text.char_indices().last().filter(|(_, unit)| is_bytes && unit.is_ascii_alphabetic());
    let (digits, shift) = match unit {
        None => (text, 0),
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        Some((at, 't' | 'T')) => (&text[..at], 40),
        Some(_) => return Err(wrong()),
    };
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    // The largest number there is means unlimited to the kernel, and would be a lie here.
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    number.filter(|&number| number < RLIM_INFINITY).ok_or_else(wrong)
}

/// `cpu.max` from a number of processors, such as 0.5.
fn cpu_quota(value: &Value) -> Result<String, String> {
    let text = value.to_string();
    if text == "unlimited" {
        return Ok("max".into());
    }
    let cpus = text.parse::<f64>().ok().filter(|cpus| *cpus > 0.0 && *cpus <= CPUS_MAX);
    let quota = cpus.map(|cpus| cpus * CPU_PERIOD_US).filter(|quota| *quota >= CPU_QUOTA_US_MIN);
    let quota = quota.ok_or_else(|| format!("{CPU_MAX}={text}: not a number of processors such as 0.5 or 2"))?;
    Ok(format!("{quota:.0} {CPU_PERIOD_US:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(pairs: &[(&str, &str)]) -> Limits {
        Limits::from_pairs(pairs.iter().map(|&(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn values_have_units_where_bytes_are_counted() {
        for (name, text, expected) in [
            ("nofile", "1024", 1024),
            ("memory", "64M", 64 << 20),
            ("memory.max", "2G", 2 << 30),
            ("core", "0", 0),
            ("stack", "512k", 512 << 10),
            ("cpu", "unlimited", RLIM_INFINITY),
        ] {
            assert_eq!(single(name, text), Ok(expected), "{name}={text}");
        }
        let both = soft_and_hard("nofile", &Value::Text("64:unlimited".into()));
        assert_eq!(both, Ok((64, RLIM_INFINITY)));
    }

    #[test]
    fn what_is_no_limit_is_refused_with_a_sentence() {
        for (name, text, expected) in [
            ("files", "5", "is not one of core, cpu, data"),
            ("memory.high", "5", "memory.max"),
            ("nofile", "many", "not a number"),
            ("nofile", "5M", "not a number"),
            ("nofile", "", "nofile="),
            ("nofile", "-1", "not a number"),
            ("nofile", "+1", "not a number"),
            ("nofile", "9:5", "above the hard one"),
            ("nofile", "18446744073709551615", "not a number"),
            ("memory", "99999999999T", "64M"),
            ("memory", "5é", "64M"),
            ("memory.max", "1:2", "64M"),
            ("cpu.max", "0", "processors"),
            ("cpu.max", "NaN", "processors"),
            ("cpu.max", "0.001", "processors"),
        ] {
            let why = limits(&[(name, text)]).check().expect_err(text);
            assert!(why.contains(expected), "{name}={text}: {why}");
        }
    }

    #[test]
    fn a_cgroups_files_are_told_apart() {
        let limits = limits(&[("nofile", "5"), ("memory.max", "1M"), ("pids.max", "unlimited"), ("cpu.max", "1.5")]);
        limits.check().unwrap();
        let files = limits.of_cgroup().unwrap();
        let expected = [("cpu.max", "150000 100000"), ("memory.max", "1048576"), ("pids.max", "max")];
        assert_eq!(files, expected.map(|(file, text)| (file, text.to_owned())));
    }

    #[test]
    fn numbers_and_texts_are_read_from_json() {
        let read: Limits = serde_json::from_str(r#"{"nofile":1024,"memory":"64M"}"#).unwrap();
        assert_eq!(read.check(), Ok(()));
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"{"memory":"64M","nofile":1024}"#);
        assert_eq!(serde_json::from_str::<Limits>(r#"{"cpu.max":0.5}"#).unwrap().check(), Ok(()));
        assert!(serde_json::from_str::<Limits>(r#"{"nofile":-1}"#).unwrap().check().is_err());
        let why = serde_json::from_str::<Limits>(r#"{"nofile":true}"#).unwrap_err();
        assert!(why.to_string().contains("a number or a text"), "{why}");
    }
}
