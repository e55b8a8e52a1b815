//! Places where something can be made to run again. A place is one line.
//!
//! `*` stands for any run of bytes within one part of a path, `~` for each home of `passwd`, and a
//! last part `**` for everything below, links as links.

use super::runs::Parser::{self, *};

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The id in records and labels.
    pub id: &'static str,
    pub pattern: &'static str,
    /// What kind of thing lies there; the parser may say it more precisely.
    pub what: &'static str,
    pub parser: Parser,
    /// The bytes may hold secrets: the item carries the label `sensitive`.
    pub sensitive: bool,
}

const fn place(
    id: &'static str,
    pattern: &'static str,
    what: &'static str,
    parser: Parser,
) -> Place {
    Place { id, pattern, what, parser, sensitive: false }
}

const fn secret(
    id: &'static str,
    pattern: &'static str,
    what: &'static str,
    parser: Parser,
) -> Place {
    Place { id, pattern, what, parser, sensitive: true }
}

/// All places but cron, anacron and at (see `crontabs`) and the cloud-init tree.
#[rustfmt::skip] // a place is one line
pub(crate) const PLACES: &[Place] = &[
    place("systemd-etc", "/etc/systemd/system/**", "systemd", Unit),
    place("systemd-etc-user", "/etc/systemd/user/**", "systemd", Unit),
    place("systemd-run", "/run/systemd/system/**", "systemd", Unit),
    place("systemd-run-user", "/run/systemd/user/**", "systemd", Unit),
    place("systemd-transient", "/run/systemd/transient/**", "systemd", Unit),
    place("systemd-local", "/usr/local/lib/systemd/system/**", "systemd", Unit),
    place("systemd-local-user", "/usr/local/lib/systemd/user/**", "systemd", Unit),
    place("systemd-home", "~/.config/systemd/user/**", "systemd", Unit),
    place("systemd-home-share", "~/.local/share/systemd/user/**", "systemd", Unit),
    place("systemd-generator", "/etc/systemd/system-generators/*", "systemd-generator", Itself),
    place("systemd-generator", "/etc/systemd/user-generators/*", "systemd-generator", Itself),
    place("systemd-generator", "/run/systemd/system-generators/*", "systemd-generator", Itself),
    place("systemd-generator", "/usr/local/lib/systemd/system-generators/*", "systemd-generator", Itself),
    place("systemd-generator", "/usr/lib/systemd/system-generators/*", "systemd-generator", Itself),
    place("systemd-generator", "/usr/lib/systemd/user-generators/*", "systemd-generator", Itself),
    place("systemd-hook", "/usr/lib/systemd/system-shutdown/*", "systemd-hook", Itself),
    place("systemd-hook", "/usr/lib/systemd/system-sleep/*", "systemd-hook", Itself),
    place("systemd-environment", "/etc/environment.d/*", "environment", Nothing),
    place("systemd-conf", "/etc/systemd/*.conf", "systemd-conf", Nothing),
    place("systemd-timers", "/var/lib/systemd/timers/*", "timer-stamp", Nothing),
    place("systemd-linger", "/var/lib/systemd/linger/*", "linger", Nothing),
    place("rc-local", "/etc/rc.local", "rc-local", Script),
    place("rc-local", "/etc/rc.d/rc.local", "rc-local", Script),
    place("init-d", "/etc/init.d/*", "init-script", Itself),
    place("init-d", "/etc/rc.d/init.d/*", "init-script", Itself),
    place("init-links", "/etc/rc*.d/*", "init-link", Nothing),
    place("init-links", "/etc/rc.d/rc*.d/*", "init-link", Nothing),
    place("inittab", "/etc/inittab", "inittab", Script),
    place("ld-preload", "/etc/ld.so.preload", "ld-preload", Words),
    place("ld-conf", "/etc/ld.so.conf", "ld-conf", Script),
    place("ld-conf", "/etc/ld.so.conf.d/*", "ld-conf", Script),
    place("authorized-keys", "~/.ssh/authorized_keys", "authorized-key", AuthorizedKeys),
    place("authorized-keys", "~/.ssh/authorized_keys2", "authorized-key", AuthorizedKeys),
    place("ssh-user", "~/.ssh/rc", "ssh-rc", Script),
    place("ssh-user", "~/.ssh/config", "ssh-config", Ssh),
    place("ssh-user", "~/.ssh/environment", "environment", Nothing),
    place("sshd", "/etc/ssh/sshd_config", "sshd-config", Ssh),
    place("sshd", "/etc/ssh/sshd_config.d/*", "sshd-config", Ssh),
    place("sshd", "/usr/lib/systemd/system/ssh*.d/*", "systemd", Unit),
    place("sshd", "/etc/ssh/ssh_config", "ssh-config", Ssh),
    place("sshd", "/etc/ssh/ssh_config.d/*", "ssh-config", Ssh),
    place("sshd", "/etc/ssh/sshrc", "ssh-rc", Script),
    place("instance-connect", "/opt/aws/bin/eic_*", "authorized-keys-command", Itself),
    place("instance-connect", "/usr/share/ec2-instance-connect/*", "authorized-keys-command", Itself),
    place("profile", "/etc/profile", "profile", Nothing),
    place("profile", "/etc/profile.d/*", "profile", Nothing),
    place("profile", "/etc/bash.bashrc", "profile", Nothing),
    place("profile", "/etc/bashrc", "profile", Nothing),
    place("profile", "/etc/bash.bash_logout", "profile", Nothing),
    place("profile", "/etc/bash_completion.d/*", "profile", Nothing),
    place("profile", "/etc/environment", "environment", Nothing),
    place("profile", "/etc/zsh/*", "profile", Nothing),
    place("profile", "/etc/zshenv", "profile", Nothing),
    place("profile", "/etc/zshrc", "profile", Nothing),
    place("profile", "/etc/csh.*", "profile", Nothing),
    place("profile", "/etc/fish/**", "profile", Nothing),
    place("profile", "/etc/skel/.*", "profile", Nothing),
    place("profile-home", "~/.bash*rc", "profile", Nothing),
    place("profile-home", "~/.bash_profile", "profile", Nothing),
    place("profile-home", "~/.bash_login", "profile", Nothing),
    place("profile-home", "~/.bash_logout", "profile", Nothing),
    place("profile-home", "~/.bash_aliases", "profile", Nothing),
    place("profile-home", "~/.profile", "profile", Nothing),
    place("profile-home", "~/.xprofile", "profile", Nothing),
    place("profile-home", "~/.xinitrc", "profile", Nothing),
    place("profile-home", "~/.xsession*rc", "profile", Nothing),
    place("profile-home", "~/.pam_environment", "environment", Nothing),
    place("profile-home", "~/.zsh*", "profile", Nothing),
    place("profile-home", "~/.zprofile", "profile", Nothing),
    place("profile-home", "~/.zlog*", "profile", Nothing),
    place("profile-home", "~/.*shrc", "profile", Nothing),
    place("profile-home", "~/.login", "profile", Nothing),
    place("profile-home", "~/.logout", "profile", Nothing),
    place("profile-home", "~/.vimrc", "editor-rc", Nothing),
    place("profile-home", "~/.config/fish/**", "profile", Nothing),
    place("udev", "/etc/udev/rules.d/*", "udev", Udev),
    place("udev", "/run/udev/rules.d/*", "udev", Udev),
    place("udev", "/usr/local/lib/udev/rules.d/*", "udev", Udev),
    place("udev", "/usr/lib/udev/rules.d/*", "udev", Udev),
    place("pam", "/etc/pam.conf", "pam", Pam),
    place("pam", "/etc/pam.d/*", "pam", Pam),
    place("pam", "/usr/lib/pam.d/*", "pam", Pam),
    place("pam", "/etc/security/*.conf", "pam-conf", Nothing),
    place("pam", "/etc/security/*/*.conf", "pam-conf", Nothing),
    place("modules", "/etc/modules", "kernel-module", Script),
    place("modules", "/etc/modules-load.d/*", "kernel-module", Script),
    place("modules", "/run/modules-load.d/*", "kernel-module", Script),
    place("modules", "/usr/lib/modules-load.d/*", "kernel-module", Script),
    place("modprobe", "/etc/modprobe.d/*", "modprobe", Modprobe),
    place("modprobe", "/run/modprobe.d/*", "modprobe", Modprobe),
    place("modprobe", "/usr/lib/modprobe.d/*", "modprobe", Modprobe),
    place("initramfs", "/etc/initramfs-tools/scripts/**", "initramfs", Itself),
    place("initramfs", "/etc/initramfs-tools/hooks/*", "initramfs", Itself),
    place("initramfs", "/etc/dracut.conf.d/*", "initramfs", Nothing),
    place("sysctl", "/etc/sysctl.conf", "sysctl", Nothing),
    place("sysctl", "/etc/sysctl.d/*", "sysctl", Nothing),
    place("binfmt", "/etc/binfmt.d/*", "binfmt", Script),
    place("tmpfiles", "/etc/tmpfiles.d/*", "tmpfiles", Nothing),
    place("sudoers", "/etc/sudoers", "sudoers", Script),
    place("sudoers", "/etc/sudoers.d/*", "sudoers", Script),
    place("doas", "/etc/doas.conf", "sudoers", Script),
    place("polkit", "/etc/polkit-1/rules.d/*", "polkit", Nothing),
    place("accounts", "/etc/passwd", "accounts", Nothing),
    place("accounts", "/etc/passwd-", "accounts", Nothing),
    place("accounts", "/etc/group", "accounts", Nothing),
    place("accounts", "/etc/group-", "accounts", Nothing),
    secret("accounts-secret", "/etc/shadow", "accounts", Nothing),
    secret("accounts-secret", "/etc/shadow-", "accounts", Nothing),
    secret("accounts-secret", "/etc/gshadow", "accounts", Nothing),
    secret("accounts-secret", "/etc/gshadow-", "accounts", Nothing),
    place("accounts", "/etc/nsswitch.conf", "accounts", Nothing),
    place("motd", "/etc/update-motd.d/*", "motd", Itself),
    place("motd", "/etc/motd", "motd", Nothing),
    place("motd", "/etc/motd.d/*", "motd", Nothing),
    place("apt-hook", "/etc/apt/apt.conf", "package-hook", Apt),
    place("apt-hook", "/etc/apt/apt.conf.d/*", "package-hook", Apt),
    place("apt-sources", "/etc/apt/sources.list", "package-source", Script),
    place("apt-sources", "/etc/apt/sources.list.d/*", "package-source", Script),
    place("dpkg-hook", "/etc/dpkg/dpkg.cfg", "package-hook", Nothing),
    place("dpkg-hook", "/etc/dpkg/dpkg.cfg.d/*", "package-hook", Nothing),
    place("dnf-hook", "/etc/dnf/plugins/**", "package-hook", Nothing),
    place("dnf-hook", "/etc/dnf/libdnf5-plugins/**", "package-hook", Nothing),
    place("dnf-hook", "/etc/yum/pluginconf.d/*", "package-hook", Nothing),
    place("dnf-hook", "/usr/lib/yum-plugins/*.py", "package-hook", Nothing),
    place("dnf-sources", "/etc/yum.repos.d/*", "package-source", Nothing),
    place("xdg-autostart", "/etc/xdg/autostart/*", "xdg-autostart", Desktop),
    place("xdg-autostart", "~/.config/autostart/*", "xdg-autostart", Desktop),
    place("xdg-autostart", "~/.config/autostart-scripts/*", "xdg-autostart", Itself),
    place("git-hook", "~/.gitconfig", "git-config", Nothing),
    place("git-hook", "~/.config/git/config", "git-config", Nothing),
    place("git-hook", "/etc/gitconfig", "git-config", Nothing),
    place("git-hook", "/etc/.git/hooks/*", "git-hook", Itself),
    place("git-hook", "~/.git/hooks/*", "git-hook", Itself),
    place("git-hook", "~/*/.git/hooks/*", "git-hook", Itself),
    place("git-hook", "/opt/*/.git/hooks/*", "git-hook", Itself),
    place("git-hook", "/srv/*/.git/hooks/*", "git-hook", Itself),
    place("git-hook", "/var/www/*/.git/hooks/*", "git-hook", Itself),
    place("docker", "/etc/docker/daemon.json", "container", Nothing),
    place("docker", "/var/lib/docker/containers/*/hostconfig.json", "container", Restart),
    secret("docker", "/var/lib/docker/containers/*/config.v2.json", "container", Nothing),
    place("quadlet", "/etc/containers/systemd/**", "container", Unit),
    place("quadlet", "~/.config/containers/systemd/**", "container", Unit),
    place("kubernetes", "/etc/kubernetes/manifests/*", "container", Nothing),
    place("network-hook", "/etc/NetworkManager/dispatcher.d/**", "network-hook", Itself),
    place("network-hook", "/usr/lib/NetworkManager/dispatcher.d/**", "network-hook", Itself),
    place("network-hook", "/etc/networkd-dispatcher/**", "network-hook", Itself),
    place("network-hook", "/etc/network/interfaces", "network-config", Interfaces),
    place("network-hook", "/etc/network/interfaces.d/*", "network-config", Interfaces),
    place("network-hook", "/etc/network/if-*.d/*", "network-hook", Itself),
    place("dhclient-hook", "/etc/dhcp/dhclient-*-hooks.d/*", "network-hook", Itself),
    place("dhclient-hook", "/etc/dhcp/dhclient*-hooks", "network-hook", Itself),
    place("dhclient-hook", "/etc/dhcp/dhclient.d/*", "network-hook", Itself),
    place("ppp-hook", "/etc/ppp/ip-*.d/*", "network-hook", Itself),
    place("acpi", "/etc/acpi/events/*", "acpi", Nothing),
    place("logrotate", "/etc/logrotate.d/*", "logrotate", Nothing),
    place("inetd", "/etc/inetd.conf", "inetd", Script),
    place("inetd", "/etc/xinetd.d/*", "inetd", Nothing),
    place("dbus", "/etc/dbus-1/system.d/*", "dbus", Nothing),
    place("dbus", "/usr/share/dbus-1/system-services/*", "dbus", Desktop),
    place("python-startup", "/usr/lib/python3*/sitecustomize.py", "interpreter-startup", Nothing),
    place("python-startup", "/etc/python3*/sitecustomize.py", "interpreter-startup", Nothing),
    place("python-startup", "/usr/local/lib/python3*/dist-packages/*.pth", "interpreter-startup", Nothing),
    place("python-startup", "~/.local/lib/python3*/site-packages/*.pth", "interpreter-startup", Nothing),
    // Last, because the packages' own units are many.
    place("systemd-lib", "/usr/lib/systemd/system/**", "systemd", Unit),
    place("systemd-lib-user", "/usr/lib/systemd/user/**", "systemd", Unit),
    place("systemd-lib", "/lib/systemd/system/**", "systemd", Unit),
    place("systemd-generator", "/lib/systemd/system-generators/*", "systemd-generator", Itself),
    place("udev", "/lib/udev/rules.d/*", "udev", Udev),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_sound_and_no_private_key_is_asked_for() {
        for place in PLACES {
            let pattern = place.pattern;
            assert!(pattern.starts_with('/') || pattern.starts_with("~/"), "{pattern}");
            assert!(!pattern.contains("//") && !pattern.ends_with('/'), "{pattern}");
            let inner = pattern.strip_suffix("/**").unwrap_or(pattern);
            assert!(!inner.contains("**"), "{pattern}: ** stands only at the end");
            assert!(!pattern.contains("id_") && !pattern.ends_with("_key"), "{pattern}");
            let twins = PLACES.iter().filter(|other| other.pattern == pattern).count();
            assert_eq!(twins, 1, "{pattern} stands twice");
        }
    }
}
