# Sourced by `run` and `sizes`: a Rust compiler that can build the standard library for other targets, cross linkers and
# emulators. Everything that Debian cannot install beside itself is unpacked below $work.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# A folder of its own: one shared with another compiler would be rebuilt by each in turn.
work=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")/embedded
export CARGO_TARGET_DIR=$work
export CARGO_INCREMENTAL=0 DEBIAN_FRONTEND=noninteractive

die() {
    printf '%s: %s\n' "$0" "$*" >&2
    exit 1
}

# Rust's names and Debian's for a target.
describe() {
    case $1 in
        armv7) triple=armv7-unknown-linux-gnueabihf gnu=arm-linux-gnueabihf debian=armhf ;;
        aarch64) triple=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu debian=arm64 ;;
        i686) triple=i686-unknown-linux-gnu gnu=i686-linux-gnu debian=i386 ;;
        *) die "no such target: $1" ;;
    esac
    # Where `lib$debian-cross` puts the target's libraries; the packages' own folders have the same names below `usr/lib`.
    sysroot=/usr/$gnu
    multiarch=${gnu/i686/i386}
}

install() {
    apt-get -q -o DPkg::Lock::Timeout=600 install -y --no-install-recommends --no-upgrade "$@"
}

# Debian's compiler with the sources of its standard library, in its newest version. rustup keeps its place on PATH.
install_rust() {
    local floor version release llvm
    floor=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    version=$(apt-cache madison rustc-web | awk '{ print $3 }' | sort -Vr | head -n 1)
    [[ -n $version ]] || die "no package rustc-web here: is this Debian bookworm with its security suite?"
    release=${version%.*+*}
    [[ $(printf '%s\n' "$floor" "$release" | sort -V | head -n 1) == "$floor" ]] ||
        die "rustc-web is $version, the crate asks for Rust $floor or newer"
    rust=$work/rust-$version
    if [[ ! -e $rust/complete ]]; then
        rm -rf "$rust"
        mkdir -p "$rust/debs"
        (
            cd "$rust/debs"
            apt-get -q -o APT::Sandbox::User=root download "rustc-web=$version" "libstd-rust-web-$release=$version" \
                "libstd-rust-web-dev=$version" "rust-web-src=$version" ||
                die "the packages of rustc-web $version are not all to be had"
            for deb in *.deb; do
                # tar fails for a package in which one of the patterns is not found.
                dpkg-deb --fsys-tarfile "$deb" |
                    tar -x -C "$rust" --wildcards './usr/bin/*' './usr/lib/*' './usr/src/*/library/*' 2>/dev/null || true
            done
        )
        llvm=$(dpkg-deb -f "$rust"/debs/libstd-rust-web-"$release"_*.deb Depends | grep -o 'libllvm[0-9]*')
        install "$llvm"
        rm -r "$rust/debs"
        for tool in rustc rustdoc; do
            printf '#!/bin/sh\nLD_LIBRARY_PATH=%s/usr/lib/x86_64-linux-gnu exec %s/usr/bin/%s "$@"\n' "$rust" "$rust" $tool \
                >"$rust/$tool"
            chmod +x "$rust/$tool"
        done
        touch "$rust/complete"
    fi
    export RUSTC=$rust/rustc RUSTDOC=$rust/rustdoc
    "$RUSTC" -V || die "the unpacked compiler does not start"
    [[ -d $("$RUSTC" --print sysroot)/lib/rustlib/src/rust/library/std ]] || die "no sources of the standard library"
    # `-Z build-std` is for nightly compilers, and for those who say so.
    export RUSTC_BOOTSTRAP=1
    build_std=-Zbuild-std=std,panic_abort,panic_unwind
}

# The linker and C library of a target, as `describe` left it.
install_cross() {
    install "gcc-$gnu" "libc6-dev-$debian-cross"
    local name=${triple^^}
    export "CARGO_TARGET_${name//-/_}_LINKER=$gnu-gcc"
}

# OpenSSL for a target, beside the machine's own, which may be of another version.
install_openssl() {
    local lists=$work/apt-$debian to=$work/openssl-$debian name=${triple^^}
    local apt=(-q -o "APT::Architecture=$debian" -o "APT::Architectures::=$debian" -o "Dir::State::Lists=$lists"
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
    if [[ ! -e $to/complete ]]; then
        rm -rf "$to"
        mkdir -p "$lists/partial" "$to/debs"
        # A suite that does not carry the architecture is no failure; a package that is nowhere is.
        apt-get "${apt[@]}" update || true
        (
            cd "$to/debs"
            apt-get "${apt[@]}" download libssl-dev libssl3 || die "no OpenSSL for $debian to be had"
            for deb in *.deb; do dpkg-deb -x "$deb" "$to"; done
        )
        rm -r "$to/debs"
        cp -r "$to/usr/include/$multiarch/openssl" "$to/usr/include/"
        touch "$to/complete"
    fi
    openssl=$to/usr/lib/$multiarch
    name=${name//-/_}
    export "${name}_OPENSSL_LIB_DIR=$openssl" "${name}_OPENSSL_INCLUDE_DIR=$to/usr/include"
}
