# scripts/packages.sh -- the Debian packages that cafx needs, and their installation. Sourced by the other scripts.
#
# The names hold for Debian 12, Debian 13 and Ubuntu 24.04 (its component "universe" has most of them).

build_packages="g++ cmake ninja-build pkg-config libsndfile1-dev libsoxr-dev libsox-dev libcli11-dev libtomlplusplus-dev
  nlohmann-json3-dev libfmt-dev libxxhash-dev libkissfft-dev libsqlite3-dev libonnx-dev libprotobuf-dev"
test_packages="libgtest-dev sox python3 python3-numpy python3-pytest python3-venv lv2-dev liblilv-dev lilv-utils sordi"
plugin_host_packages="jalv jackd2"  # that the plugin is tried in, on a JACK server without a sound card; skipped without
notebook_packages="python3-nbclient python3-ipykernel python3-matplotlib python3-pandas"  # for the notebook of python/examples; skipped without
slow_packages="slurm-wlm munge procps ardour debootstrap buildah"  # for tests labelled slow, which are skipped without

cafx_apt_log=

# Runs apt-get, as root, and waits up to ten minutes for another that holds a lock: packages and lists have one each.
apt_get() {
  local as_root=() deadline=$((SECONDS + ${CAFX_APT_WAIT:-600})) told=
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  : "${cafx_apt_log:=$(mktemp)}"
  until "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -qq \
    -o DPkg::Lock::Timeout="${CAFX_APT_WAIT:-600}" "$@" >"$cafx_apt_log" 2>&1; do
    if ! grep -q 'Could not get lock\|Unable to lock' "$cafx_apt_log" || [ $SECONDS -ge $deadline ]; then
      cat "$cafx_apt_log" >&2
      return 100
    fi
    [ -n "$told" ] || echo "another apt is at work; waiting for it"
    told=1
    sleep 2
  done
}

# What to do where packages cannot be installed.
without_root() {
  cat >&2 <<'EOF'
Without them cafx is not built here. To go on without root: the wheel needs no compiler and no package,
  python3 -m venv cafx-env && cafx-env/bin/pip install cafx_audio-*.whl && cafx-env/bin/cafx --help
and so does the folder cafx-VERSION-linux-x86_64.tar.zst: unpack it and run its bin/cafx. INSTALL.md tells of both.
EOF
}

# apt-get has failed, and said why: a sudo may be there that this user may not use.
could_not() {
  local code=$?
  [ "$(id -u)" = 0 ] || without_root
  return $code
}

# install_packages NAME...: those that are missing, by apt-get.
install_packages() {
  local missing=() unknown=() name
  for name in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  command -v apt-get >/dev/null || {
    echo "cafx needs these packages, under the names that Debian gives them, and there is no apt-get to install them: ${missing[*]}" >&2
    without_root
    return 2
  }
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    echo "cafx needs these packages, and only root may install them: apt-get install ${missing[*]}" >&2
    without_root
    return 2
  fi
  echo "installing: ${missing[*]}"
  apt_get update || could_not || return
  for name in "${missing[@]}"; do
    [[ $(apt-cache policy "$name" 2>/dev/null) == *"Candidate: "[0-9]* ]] || unknown+=("$name")
  done
  if [ ${#unknown[@]} -gt 0 ]; then
    echo "this system's package lists have no ${unknown[*]}; the names are those of Debian 12, 13 and Ubuntu 24.04 (there with" \
      "the component 'universe': add-apt-repository universe)" >&2
    without_root
    return 2
  fi
  apt_get install -y --no-install-recommends "${missing[@]}" || could_not
}
