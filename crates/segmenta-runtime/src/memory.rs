//! How much memory there is: asked before it is used, because a system that promises more than it
//! has ends the process later without a word. A container has less than its machine.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Bytes that can be had without swapping and within the limits of this process's control groups, where the system
/// says so.
pub(crate) fn available() -> Option<usize> {
    available_under(Path::new("/"))
}

/// The same for a system whose files lie under `root`.
fn available_under(root: &Path) -> Option<usize> {
    let machine = read_to_string(root.join("proc/meminfo")).ok();
    let machine = machine.and_then(|meminfo| available_in(&meminfo));
    let groups = groups(root).into_iter().filter_map(|group| group.left());
    machine.into_iter().chain(groups).min()
}

/// As Linux writes it: `MemAvailable:   12345678 kB`.
fn available_in(meminfo: &str) -> Option<usize> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The two generations of control groups; a machine may have both mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Generation {
    One,
    Two,
}

/// The folder of a control group that limits this process's memory.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    generation: Generation,
    folder: PathBuf,
}

impl Group {
    /// Bytes until its limit; `None` if it has none.
    fn left(&self) -> Option<usize> {
        // What lies above `memory.high` is taken back at once, which stalls.
        let (limits, used, cache): (&[&str], _, _) = match self.generation {
            Generation::One => (
                &["memory.limit_in_bytes"],
                "memory.usage_in_bytes",
                "total_inactive_file",
            ),
            Generation::Two => (
                &["memory.max", "memory.high"],
                "memory.current",
                "inactive_file",
            ),
        };
        // `max` is no number, and no limit.
        let limit = limits.iter().filter_map(|file| self.number(file)).min()?;
        let used = self.number(used).unwrap_or(0);
        // Pages of files that were read count as used until somebody needs the memory.
        let stat = read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let mut pairs = stat.lines().filter_map(|line| line.split_once(' '));
        let cached = pairs.find(|(name, _)| *name == cache);
        let cached = cached.and_then(|(_, bytes)| bytes.trim().parse().ok());
        let used = used.saturating_sub(cached.unwrap_or(0));
        let left = limit.saturating_sub(used);
        usize::try_from(left).ok()
    }

    fn number(&self, file: &str) -> Option<u64> {
        let text = read_to_string(self.folder.join(file)).ok()?;
        text.trim().parse().ok()
    }
}

/// The control groups whose limits hold for this process: its own and all that they lie in.
fn groups(root: &Path) -> Vec<Group> {
    let own = read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mounts = read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
    let mut all = Vec::new();
    for line in own.lines() {
        // `4:memory:/docker/1c89…`, or `0::/user.slice`.
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let generation = if number == "0" && controllers.is_empty() {
            Generation::Two
        } else if controllers.split(',').any(|name| name == "memory") {
            Generation::One
        } else {
            continue;
        };
        let usual = Mount::usual(generation);
        let mount = mounts.iter().find(|mount| mount.generation == generation);
        let mount = mount.unwrap_or(&usual);
        let top = root.join(mount.point.trim_start_matches('/'));
        // A container may see its own group as the top, and not what that is called outside.
        let below = Path::new(path).strip_prefix(mount.root);
        let below = below.unwrap_or(Path::new("")).to_path_buf();
        for ancestor in below.ancestors() {
            let folder = top.join(ancestor.strip_prefix("/").unwrap_or(ancestor));
            all.push(Group { generation, folder });
        }
    }
    all
}

/// Where a hierarchy of control groups is mounted, and which of its groups is at the top there.
#[derive(Debug)]
struct Mount<'a> {
    generation: Generation,
    root: &'a str,
    point: &'a str,
}

impl<'a> Mount<'a> {
    fn usual(generation: Generation) -> Self {
        Self {
            generation,
            root: "/",
            point: match generation {
                Generation::One => "/sys/fs/cgroup/memory",
                Generation::Two => "/sys/fs/cgroup",
            },
        }
    }

    /// As `/proc/self/mountinfo` has it: `35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory`.
    fn parse(line: &'a str) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let generation = match (kind.next()?, kind.next_back()?) {
            ("cgroup2", _) => Generation::Two,
            ("cgroup", options) if options.split(',').any(|o| o == "memory") => Generation::One,
            _ => return None,
        };
        Some(Self {
            generation,
            root,
            point,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: usize = 1 << 30;

    /// A system of these files, with 20 GiB free on the machine.
    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let meminfo = (
            "proc/meminfo",
            "MemTotal: 1 kB\nMemAvailable: 20971520 kB\n",
        );
        for (path, text) in files.iter().chain([&meminfo]) {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    fn available_with(files: &[(&str, &str)]) -> Option<usize> {
        available_under(system(files).path())
    }

    #[test]
    fn linux_says_it_in_kibibytes() {
        let text = "MemTotal:       24683520 kB\nMemAvailable:   20758548 kB\n";
        assert_eq!(available_in(text), Some(20_758_548 * 1024));
        assert_eq!(available_in("MemTotal: 1 kB"), None);
        assert_eq!(available_in("MemAvailable: much"), None);
    }

    #[test]
    fn without_groups_it_is_the_machines() {
        assert_eq!(available_with(&[]), Some(20 * GIB));
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(available_under(nothing.path()), None);
    }

    #[test]
    fn a_container_of_the_second_generation_has_its_limit_less_what_it_uses() {
        let files = [
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "4294967296\n"),
            ("sys/fs/cgroup/memory.current", "3221225472\n"),
            (
                "sys/fs/cgroup/memory.stat",
                "anon 2\nfile 9\ninactive_file 1073741824\nactive_file 5\n",
            ),
        ];
        // What it read of files can be had back.
        assert_eq!(available_with(&files), Some(2 * GIB));
        let mut none = files;
        none[1].1 = "max\n";
        assert_eq!(available_with(&none), Some(20 * GIB));
        let high = [&none[..], &[("sys/fs/cgroup/memory.high", "4294967296")]].concat();
        assert_eq!(available_with(&high), Some(2 * GIB));
        let mut full = files;
        full[2].1 = "9999999999\n";
        full[3].1 = "";
        assert_eq!(available_with(&full), Some(0));
        let mut wide = files;
        wide[1].1 = "429496729600\n";
        assert_eq!(
            available_with(&wide),
            Some(20 * GIB),
            "the machine has less"
        );
    }

    #[test]
    fn the_tightest_of_nested_groups_counts() {
        let files = [
            ("proc/self/cgroup", "0::/kubepods/pod7/box\n"),
            ("sys/fs/cgroup/kubepods/pod7/box/memory.max", "max"),
            ("sys/fs/cgroup/kubepods/pod7/memory.max", "3221225472"),
            ("sys/fs/cgroup/kubepods/pod7/memory.current", "1073741824"),
            ("sys/fs/cgroup/kubepods/memory.max", "8589934592"),
            ("sys/fs/cgroup/kubepods/memory.current", "1073741824"),
        ];
        assert_eq!(available_with(&files), Some(2 * GIB));
    }

    #[test]
    fn the_first_generation_too() {
        let unlimited = "9223372036854771712\n";
        let mut files = [
            (
                "proc/self/cgroup",
                "9:name=systemd:/x\n4:cpu,memory:/docker/1c89\n0::/\n",
            ),
            (
                "sys/fs/cgroup/memory/docker/1c89/memory.limit_in_bytes",
                "1073741824\n",
            ),
            (
                "sys/fs/cgroup/memory/docker/1c89/memory.usage_in_bytes",
                "536870912\n",
            ),
            (
                "sys/fs/cgroup/memory/docker/1c89/memory.stat",
                "cache 1\ntotal_inactive_file 268435456\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", unlimited),
        ];
        assert_eq!(available_with(&files), Some(GIB * 3 / 4));
        files[1].1 = unlimited;
        assert_eq!(available_with(&files), Some(20 * GIB));
    }

    #[test]
    fn mounts_are_found_wherever_they_are() {
        // The container's own group is the top of what it sees, under the name that the machine has for it.
        let files = [
            ("proc/self/cgroup", "4:memory:/docker/1c89\n0::/\n"),
            (
                "proc/self/mountinfo",
                "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                 35 31 0:32 /docker/1c89 /groups/m rw shared:9 master:1 - cgroup cgroup rw,memory\n\
                 41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
            ),
            ("groups/m/memory.limit_in_bytes", "1073741824\n"),
            ("groups/m/memory.usage_in_bytes", "0\n"),
        ];
        assert_eq!(available_with(&files), Some(GIB));
        let second = [&files[..], &[("sys/fs/cgroup/unified/memory.max", "1024")]].concat();
        assert_eq!(available_with(&second), Some(1024), "both are looked at");
    }

    #[test]
    fn what_says_nothing_sensible_is_passed_over() {
        let files = [
            ("proc/self/cgroup", "nonsense\n0\n:::\n0::/a\n"),
            ("proc/self/mountinfo", "\n - \n1 2 - cgroup\n"),
            ("sys/fs/cgroup/a/memory.max", "lots"),
        ];
        assert_eq!(available_with(&files), Some(20 * GIB));
    }
}
