# scripts/packages.sh -- the Debian packages that cafx needs, and their installation. Sourced by the other scripts.

build_packages="g++ cmake ninja-build pkg-config libsndfile1-dev libsoxr-dev libsox-dev libcli11-dev libtomlplusplus-dev
  nlohmann-json3-dev libfmt-dev libxxhash-dev libkissfft-dev libsqlite3-dev"
test_packages="libgtest-dev sox python3 python3-numpy python3-venv libonnx-dev libprotobuf-dev lv2-dev liblilv-dev lilv-utils sordi"
plugin_host_packages="jalv jackd2"  # that the plugin is tried in, on a JACK server without a sound card; skipped without
slow_packages="slurm-wlm munge procps ardour"  # for tests labelled slow, which are skipped without

# install_packages NAME...: those that are missing, by apt-get.
install_packages() {
  local missing=() name
  for name in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  command -v apt-get >/dev/null || {
    echo "cafx needs these packages, and there is no apt-get to install them: ${missing[*]}" >&2
    return 2
  }
  local as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  echo "installing: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
