#include "store/time_zones.h"

#include <date/tz.h>

#include <algorithm>
#include <array>
#include <exception>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>

#include "store/tz_rule.h"

namespace weir::store {
namespace {

// Where Debian has the database and where the library looks for it first.
constexpr std::string_view kFolder = "/usr/share/zoneinfo/";
constexpr std::size_t kFileBytesMax = 256 << 10;

constexpr Instant kFirst{Seconds(-2'208'988'800).ns};  // 1900-01-01
constexpr Instant kEnd{Seconds(4'102'444'800).ns};     // 2100-01-01

// Names of the database that are no place's: what they mean differs from machine to machine.
constexpr std::array<std::string_view, 3> kNoZones = {"localtime", "posixrules", "Factory"};

date::sys_seconds SysSeconds(Instant at) {
  return date::sys_seconds(std::chrono::seconds(at.ns / Seconds(1).ns));
}

// The library's first and last moments are some 30,000 years away.
Instant InstantOf(date::sys_seconds at) {
  const std::int64_t seconds = at.time_since_epoch().count();
  const std::int64_t second = Seconds(1).ns;
  return {std::clamp(seconds, kFirst.ns / second, kEnd.ns / second) * second};
}

std::int32_t OffsetOf(const date::sys_info& info) {
  return static_cast<std::int32_t>(info.offset.count());
}

// The last line of a TZif file of version 2 or later (RFC 8536): "\nRULE\n". None for another file.
std::optional<std::string> FooterOf(const std::string& name) {
  std::ifstream in(std::string(kFolder) + name, std::ios::binary);
  std::ostringstream whole;
  if (!in.is_open() || !(whole << in.rdbuf())) return std::nullopt;
  const std::string text = std::move(whole).str();
  if (text.size() > kFileBytesMax || text.size() < 5 || !text.starts_with("TZif") ||
      text[4] < '2' || !text.ends_with('\n')) {
    return std::nullopt;
  }
  const std::size_t begin = text.rfind('\n', text.size() - 2);
  if (begin == std::string::npos) return std::nullopt;
  return text.substr(begin + 1, text.size() - begin - 2);
}

std::optional<config::Zone> ReadZone(std::string_view name) {
  if (std::ranges::find(kNoZones, name) != kNoZones.end()) return std::nullopt;
  const date::time_zone* const place = date::locate_zone(name);
  // An alias has the name it was asked for by, so that a configuration reads as it was written.
  config::Zone zone{.name = std::string(name), .tzdb_version = TzdbVersion(), .changes = {}};
  date::sys_info info = place->get_info(SysSeconds(kFirst));
  zone.offset_seconds = OffsetOf(info);
  while (InstantOf(info.end) < kEnd) {
    const date::sys_info next = place->get_info(info.end);
    if (next.end <= info.end) return std::nullopt;
    if (next.offset != info.offset) zone.changes.push_back({InstantOf(next.begin), OffsetOf(next)});
    info = next;
  }
  const auto footer = FooterOf(place->name());
  if (!footer) return std::nullopt;
  // An empty one says that nobody knows what comes: the last offset stays.
  if (footer->empty()) return zone;
  const auto rule = ParseTzRule(*footer);
  // RFC 8536: the rule agrees with the last change that is listed.
  const Instant listed = InstantOf(info.begin);
  if (!rule || OffsetAt(*rule, listed) != OffsetOf(info)) return std::nullopt;
  for (const config::ZoneChange& change : ChangesOf(*rule, {listed.ns + 1}, kEnd)) {
    zone.changes.push_back(change);
  }
  return zone;
}

std::string ReadVersion() {
  const std::string& known = date::get_tzdb().version;
  if (!known.empty() && known != "unknown") return known;
  // Debian has it in the first line of another file.
  std::ifstream in(std::string(kFolder) + "tzdata.zi", std::ios::binary);
  std::string line(64, '\0');
  in.read(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(static_cast<std::size_t>(in.gcount()));
  line.resize(std::min(line.find('\n'), line.size()));
  constexpr std::string_view kBefore = "# version ";
  return line.starts_with(kBefore) ? line.substr(kBefore.size()) : std::string();
}

}  // namespace

std::string TzdbVersion() {
  static std::mutex mutex;
  static std::optional<std::string> version;
  const std::lock_guard lock(mutex);
  try {
    if (!version) version = ReadVersion();
    return *version;
  } catch (const std::exception&) {
    return {};  // there is no database; looked for again when somebody asks again
  }
}

std::shared_ptr<const config::Zone> FindZone(std::string_view name) {
  static std::mutex mutex;
  // Bounded by the names of the database: others are not kept.
  static std::map<std::string, std::shared_ptr<const config::Zone>, std::less<>> zones;
  const std::lock_guard lock(mutex);
  if (const auto found = zones.find(name); found != zones.end()) return found->second;
  try {
    auto zone = ReadZone(name);
    if (!zone) return nullptr;
    auto shared = std::make_shared<const config::Zone>(*std::move(zone));
    zones.emplace(std::string(name), shared);
    return shared;
  } catch (const std::exception&) {
    return nullptr;  // not in the database, or there is none
  }
}

}  // namespace weir::store
