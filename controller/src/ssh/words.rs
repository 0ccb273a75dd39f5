//! Words of other programs: which of an operator's words are options of ssh, which of rsync's lead to the box, and how
//! rsync reads a command. Pure.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// The options of ssh that have a value: ssh(1), OpenSSH 9.2.
const SSH_VALUED: &[u8] = b"BDEFIJLOPQRSWbceilmopw";

/// Those that say how to connect. The others say what to do there, or how much to print.
const SSH_CONNECTING: &[u8] = b"46BFIJPbcimop";

/// The options of rsync that have a value: rsync(1), 3.2.
const RSYNC_VALUED: &[u8] = b"@BMTef";

/// An option of one letter, and its value if it has one.
type Letter = (u8, Option<OsString>);

/// Reads options as getopt(3) does, up to the first word that is none; returns how many words they are.
fn letters(words: &[OsString], valued: &[u8]) -> (Vec<Letter>, usize) {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(word) = words.get(at).map(|word| word.as_bytes()) {
        if word.len() < 2 || word[0] != b'-' || word == b"--" {
            break;
        }
        at += 1;
        for (place, &letter) in word.iter().enumerate().skip(1) {
            if !valued.contains(&letter) {
                found.push((letter, None));
                continue;
            }
            let rest = &word[place + 1..];
            let value = if rest.is_empty() { words.get(at).cloned() } else { Some(OsStr::from_bytes(rest).into()) };
            at += usize::from(rest.is_empty() && value.is_some());
            found.push((letter, value));
            break;
        }
    }
    (found, at)
}

/// Splits words for ssh into its options and the command behind them, as ssh does.
pub(crate) fn split_ssh(mut words: Vec<OsString>) -> (Vec<OsString>, Vec<OsString>) {
    let (_, count) = letters(&words, SSH_VALUED);
    let mut command = words.split_off(count);
    if command.first().is_some_and(|word| word == "--") {
        command.remove(0);
    }
    (words, command)
}

/// Of options for ssh, those that say how to connect.
pub(super) fn connecting(options: &[OsString]) -> Vec<OsString> {
    of_kind(options, SSH_CONNECTING)
}

/// Of options for ssh, `-p PORT`.
pub(super) fn port(options: &[OsString]) -> Vec<OsString> {
    of_kind(options, b"p")
}

fn of_kind(options: &[OsString], kind: &[u8]) -> Vec<OsString> {
    let (found, _) = letters(options, SSH_VALUED);
    let kept = found.into_iter().filter(|(letter, _)| kind.contains(letter));
    kept.flat_map(|(letter, value)| {
        let option = OsString::from_vec(vec![b'-', letter]);
        std::iter::once(option).chain(value)
    })
    .collect()
}

/// A command as rsync reads it behind `-e`: words apart by blanks, quoted with `'`, and a `'` within twice.
pub(super) fn for_rsync(words: impl IntoIterator<Item = OsString>) -> OsString {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=/.:,@+".contains(&byte);
    let quoted = words.into_iter().map(|word| {
        let word = word.into_vec();
        if !word.is_empty() && word.iter().copied().all(plain) {
            return word;
        }
        let within = word.into_iter().flat_map(|byte| if byte == b'\'' { vec![byte; 2] } else { vec![byte] });
        std::iter::once(b'\'').chain(within).chain([b'\'']).collect()
    });
    OsString::from_vec(quoted.collect::<Vec<_>>().join(&b' '))
}

/// Why words for rsync are not passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RsyncError {
    /// rsync would not go through the ssh that checks host keys.
    #[error("rsync's {0} would put another program in place of the ssh that knows the box's host keys")]
    Shell(&'static str),
    /// A path on a machine that is not the box.
    #[error("{0:?} is a path on another machine")]
    Elsewhere(OsString),
    /// No path on the box.
    #[error("no path is on the box")]
    Nowhere,
}

/// Puts `host` before every path that begins with a colon. `host` is `account@address`.
pub(crate) fn rsync(words: Vec<OsString>, host: &str) -> Result<Vec<OsString>, RsyncError> {
    let (mut done, mut options, mut on_box) = (Vec::new(), true, false);
    let mut rest = words.into_iter();
    while let Some(word) = rest.next() {
        let bytes = word.as_bytes();
        if options && bytes == b"--" {
            options = false;
        } else if options && bytes.starts_with(b"--") {
            if bytes == b"--rsh" || bytes.starts_with(b"--rsh=") {
                return Err(RsyncError::Shell("--rsh"));
            }
        } else if options && bytes.len() > 1 && bytes[0] == b'-' {
            let (found, _) = letters(std::slice::from_ref(&word), RSYNC_VALUED);
            if found.iter().any(|(letter, _)| *letter == b'e') {
                return Err(RsyncError::Shell("-e"));
            }
            let waits = found.last().is_some_and(|(letter, value)| RSYNC_VALUED.contains(letter) && value.is_none());
            done.push(word);
            // The value of the option, whatever it looks like.
            done.extend(waits.then(|| rest.next()).flatten());
            continue;
        } else if let Some(path) = bytes.strip_prefix(b":") {
            on_box = true;
            let path = [host.as_bytes(), b":", path].concat();
            done.push(OsString::from_vec(path));
            continue;
        } else if is_elsewhere(bytes) {
            return Err(RsyncError::Elsewhere(word));
        }
        done.push(word);
    }
    if on_box { Ok(done) } else { Err(RsyncError::Nowhere) }
}

/// Whether rsync takes a path for one on another machine: a colon comes before any slash.
fn is_elsewhere(path: &[u8]) -> bool {
    path.iter().find(|&&byte| byte == b':' || byte == b'/') == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect()
    }

    #[test]
    fn options_of_ssh_end_where_its_command_begins() {
        for (text, options, command) in [
            ("", "", ""),
            ("uptime -p", "", "uptime -p"),
            ("-A uptime -p", "-A", "uptime -p"),
            ("-tt -p 2222 -L8080:localhost:80 ls -l", "-tt -p 2222 -L8080:localhost:80", "ls -l"),
            ("-vAp 22 -- -x", "-vAp 22", "-x"),
            ("-o StrictHostKeyChecking=no", "-o StrictHostKeyChecking=no", ""),
            ("-p", "-p", ""),
            ("- x", "", "- x"),
        ] {
            assert_eq!(split_ssh(words(text)), (words(options), words(command)), "{text}");
        }
    }

    #[test]
    fn what_connects_is_kept_and_what_would_do_something_is_not() {
        let found = connecting(&words("-4Ap 22 -N -L 1:x:2 -i key -F file -J jump -f -o User=x -Wx:1 -S path"));
        assert_eq!(found, words("-4 -p 22 -i key -F file -J jump -o User=x"));
    }

    #[test]
    fn a_command_for_rsync_is_quoted_as_rsync_reads_it() {
        let words = ["ssh", "-o", "UserKnownHostsFile=\"/a b/c\"", "it's", ""].map(OsString::from);
        assert_eq!(for_rsync(words), "ssh -o 'UserKnownHostsFile=\"/a b/c\"' 'it''s' ''");
    }

    #[test]
    fn a_path_behind_a_colon_is_on_the_box() {
        let done = |text: &str| rsync(words(text), "admin@10.0.0.1");
        for (text, wanted) in [
            ("-av ./a:b :", "-av ./a:b admin@10.0.0.1:"),
            (":src/ .", "admin@10.0.0.1:src/ ."),
            ("--exclude=a:b -f :x :/var/log /a:b", "--exclude=a:b -f :x admin@10.0.0.1:/var/log /a:b"),
            ("-T :x -B 700 :y z", "-T :x -B 700 admin@10.0.0.1:y z"),
            ("-- -x :y", "-- -x admin@10.0.0.1:y"),
            ("-Te :y z", "-Te admin@10.0.0.1:y z"),
        ] {
            assert_eq!(done(text).unwrap(), words(wanted), "{text}");
        }
        assert_eq!(done("-av a b"), Err(RsyncError::Nowhere));
    }

    #[test]
    fn fault_15_rsync_is_not_led_around_the_check_of_the_host_key() {
        let done = |text: &str| rsync(words(text), "admin@10.0.0.1");
        for text in ["-e ssh a :", "-ave ssh a :", "-essh a :", "--rsh=ssh a :", "--rsh ssh a :"] {
            assert!(matches!(done(text), Err(RsyncError::Shell(_))), "{text}");
        }
        for text in ["other:x :", "rsync://other/x :", "a:b :", "other::module :", "-av -- o:x :"] {
            assert!(matches!(done(text), Err(RsyncError::Elsewhere(_))), "{text}");
        }
    }
}
