//! C libraries: a small program in `bench/c` measures each, and is built where the library is
//! installed.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub struct Package {
    pub name: &'static str,
    pub source: &'static str,
    /// What says that it is installed.
    pub header: &'static str,
    /// What pkg-config knows it by.
    pub modules: &'static [&'static str],
    /// For want of pkg-config, or of its knowing the library.
    pub libraries: &'static [&'static str],
    pub debian: &'static str,
}

impl Package {
    /// Builds its program beside this one. The error is for people.
    pub fn build(&self) -> Result<PathBuf, String> {
        let flags = self.pkg_config().unwrap_or_default();
        if !self.has_header(&flags).map_err(|error| format!("{}: no cc: {error}", self.name))? {
            return Err(format!("{}: not installed (apt-get install {})", self.name, self.debian));
        }
        self.compile(&flags).map_err(|error| format!("{}: not built: {error}", self.name))
    }

    fn pkg_config(&self) -> Option<Vec<String>> {
        let mut command = Command::new("pkg-config");
        let output = command.args(["--cflags", "--libs"]).args(self.modules).output().ok()?;
        let flags = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| flags.split_whitespace().map(str::to_owned).collect())
    }

    fn has_header(&self, flags: &[String]) -> io::Result<bool> {
        let mut command = Command::new("cc");
        command.args(["-fsyntax-only", "-include", self.header, "-x", "c", "/dev/null"]);
        command.args(flags.iter().filter(|flag| !flag.starts_with("-l")));
        Ok(command.stderr(Stdio::null()).status()?.success())
    }

    fn compile(&self, flags: &[String]) -> Result<PathBuf, Box<dyn std::error::Error>> {
        let folder = std::env::current_exe()?.with_file_name("bench-c");
        std::fs::create_dir_all(&folder)?;
        let program = folder.join(self.name);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("c").join(self.source);
        let mut command = Command::new("cc");
        command.arg("-O2").arg(source).arg("-o").arg(&program).args(flags).arg("-pthread");
        if flags.is_empty() {
            command.args(self.libraries);
        }
        let output = command.output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(program)
    }
}
