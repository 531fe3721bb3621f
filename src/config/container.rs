//! What the machine, or the container around this process, lets it use: memory (cgroup v1 and v2) and cores.
//!
//! Every answer is a best effort: a file that is missing or unreadable means "no limit known", never an error.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// A cgroup v1 "no limit" is a huge page-rounded number; anything above this is no limit.
const UNLIMITED_BYTES: u64 = 1 << 60;

/// Cores that this process may keep busy: CPU affinity and cgroup v1 / v2 quota respected, at least 1.
pub fn cores() -> usize {
    // On Linux the standard library reads the affinity mask and the cgroup quota, rounding the quota down.
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Bytes of memory that this process may use: the tightest cgroup limit, else the machine's memory, else `None`.
pub fn memory_bytes() -> Option<u64> {
    let limit = cgroup_limit_bytes(Path::new("/proc/self/cgroup"), Path::new("/sys/fs/cgroup"));
    let physical = read_to_string("/proc/meminfo").ok().and_then(|text| physical_bytes(&text));
    match (limit, physical) {
        (Some(limit), Some(physical)) => Some(limit.min(physical)),
        (limit, physical) => limit.or(physical),
    }
}

/// The tightest memory limit from the process's cgroup up to the root. `membership` is `/proc/self/cgroup`, `mount`
/// where the hierarchies are mounted.
fn cgroup_limit_bytes(membership: &Path, mount: &Path) -> Option<u64> {
    let text = read_to_string(membership).ok()?;
    let mut tightest: Option<u64> = None;
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (root, file) = if controllers.is_empty() {
            (mount.to_path_buf(), "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            (mount.join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        if let Some(limit) = limit_on_path(&root, path, file) {
            tightest = Some(tightest.map_or(limit, |known| known.min(limit)));
        }
    }
    tightest
}

/// The smallest limit in `file` of the cgroup at `path` and of its ancestors. Inside a container the path may name
/// directories of the host that are not mounted here; then only the root is there to be read.
fn limit_on_path(root: &Path, path: &str, file: &str) -> Option<u64> {
    let mut directory = PathBuf::from(path.trim_start_matches('/'));
    let mut tightest: Option<u64> = None;
    loop {
        let limit = read_to_string(root.join(&directory).join(file))
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok())
            .filter(|&bytes| bytes < UNLIMITED_BYTES);
        if let Some(limit) = limit {
            tightest = Some(tightest.map_or(limit, |known| known.min(limit)));
        }
        if !directory.pop() {
            return tightest;
        }
    }
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn physical_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::{cgroup_limit_bytes, cores, memory_bytes, physical_bytes};
    use std::fs;

    fn limit(membership: &str, files: &[(&str, &str)]) -> Option<u64> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, text).expect("a file");
        }
        let list = folder.path().join("self");
        fs::write(&list, membership).expect("the membership file");
        cgroup_limit_bytes(&list, folder.path())
    }

    #[test]
    fn version_two_takes_the_tightest_of_the_ancestors() {
        let files = [("a/memory.max", "536870912\n"), ("a/b/memory.max", "max\n")];
        assert_eq!(limit("0::/a/b\n", &files), Some(536_870_912));
    }

    #[test]
    fn a_container_sees_only_the_root() {
        let files = [("memory.max", "1048576\n")];
        assert_eq!(limit("0::/docker/abc\n", &files), Some(1_048_576));
    }

    #[test]
    fn version_one_has_its_own_file_and_its_own_way_to_say_unlimited() {
        let limited = [("memory/pod/memory.limit_in_bytes", "2097152\n")];
        assert_eq!(limit("5:cpu,cpuacct:/pod\n4:memory:/pod\n", &limited), Some(2_097_152));
        let unlimited = [("memory/memory.limit_in_bytes", "9223372036854771712\n")];
        assert_eq!(limit("4:memory:/\n", &unlimited), None);
    }

    #[test]
    fn nonsense_is_no_limit() {
        assert_eq!(limit("", &[]), None);
        assert_eq!(limit("garbage\n0::/\n", &[("memory.max", "zzz")]), None);
    }

    #[test]
    fn this_machine_has_memory_and_a_core() {
        assert!(cores() >= 1);
        assert!(memory_bytes().is_none_or(|bytes| bytes > 1 << 20));
        assert_eq!(physical_bytes("MemTotal:       2048 kB\n"), Some(2_097_152));
        assert_eq!(physical_bytes("MemTotal: many\n"), None);
    }
}
