//! The sections of `bench/RESULTS.md` that are measured apart from the rest of the page, each by a command of its own: whoever writes the
//! page leaves the others' sections as they stand.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// A section, in the order of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// `bench --state`.
    State,
    /// `bench --python`.
    Python,
}

const ALL: [Section; 2] = [Section::State, Section::Python];

impl Section {
    /// The line it begins with, and the empty line before.
    fn heading(self) -> &'static str {
        match self {
            Section::State => "\n## State\n",
            Section::Python => "\n## Python functions\n",
        }
    }

    /// Its text in a page, heading included.
    fn of(self, page: &str) -> Option<&str> {
        let begin = page.find(self.heading())?;
        let end = ALL.iter().filter_map(|other| page.find(other.heading())).filter(|end| *end > begin).min();
        Some(&page[begin..end.unwrap_or(page.len())])
    }

    /// Puts its text (without the heading) into the page of a repository.
    pub(crate) fn write(self, text: &str, repository: &Path) -> Result<()> {
        let path = repository.join("bench/RESULTS.md");
        let page = fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?;
        fs::write(&path, self.put(text, &page))?;
        Ok(())
    }

    fn put(self, text: &str, page: &str) -> String {
        let begin = ALL.iter().filter_map(|section| page.find(section.heading())).min().unwrap_or(page.len());
        let sections = ALL.into_iter().filter_map(|section| {
            if section == self {
                return Some(format!("{}{text}", section.heading()));
            }
            section.of(page).map(str::to_owned)
        });
        let sections: Vec<String> = sections.map(|section| format!("\n{}\n", section.trim())).collect();
        format!("{}\n{}", page[..begin].trim_end(), sections.concat())
    }
}

/// All of them as they stand in a page.
pub(crate) fn sections_of(page: &str) -> String {
    ALL.iter().filter_map(|section| section.of(page)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_others_stay() {
        let page = "# page\nrows\n";
        let with_python = Section::Python.put("\nfast\n", page);
        assert_eq!(with_python, "# page\nrows\n\n## Python functions\n\nfast\n");
        let both = Section::State.put("\nsmall\n", &with_python);
        assert_eq!(both, "# page\nrows\n\n## State\n\nsmall\n\n## Python functions\n\nfast\n");
        assert_eq!(Section::State.put("\nlarge\n", &both), both.replace("small", "large"));
        assert_eq!(Section::Python.put("\nfast\n", &both), both);
        assert_eq!(sections_of(&both), both[page.len()..]);
        assert_eq!(sections_of(page), "");
    }
}
