#include "dialect/audio_length.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <utility>

namespace weir::dialect {
namespace {

using Wide = __int128;

// What a container says of itself.
struct Told {
  std::int64_t ms = 0;
  std::optional<std::int64_t> ms_max;  // when it follows from the bytes and not from a claim
};

// Bounds-checked reading: beyond the end everything is zero and ok() false.
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}
  std::uint64_t Big(std::size_t at, std::size_t count) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) value = value << 8 | At(at + i);
    return value;
  }
  std::uint64_t Little(std::size_t at, std::size_t count) {
    std::uint64_t value = 0;
    for (std::size_t i = count; i-- > 0;) value = value << 8 | At(at + i);
    return value;
  }
  std::uint8_t At(std::size_t at) {
    if (at < bytes_.size()) return static_cast<std::uint8_t>(bytes_[at]);
    ok_ = false;
    return 0;
  }
  bool Is(std::size_t at, std::string_view mark) const {
    return at <= bytes_.size() && bytes_.substr(at).starts_with(mark);
  }
  std::string_view From(std::size_t at) const {
    return at <= bytes_.size() ? bytes_.substr(at) : std::string_view();
  }
  std::size_t size() const { return bytes_.size(); }
  bool ok() const { return ok_; }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

// ceil(count x 1000 / per_second), in range. Nothing per second is nothing known: 0.
std::int64_t Milliseconds(Wide count, Wide per_second) {
  if (count <= 0 || per_second <= 0) return 0;
  const Wide ms = (count * 1000 + per_second - 1) / per_second;
  return static_cast<std::int64_t>(std::min<Wide>(ms, kAudioMsMax));
}

// Chunks of RIFF. The sound is uncompressed, so its bytes are its length and a claim about them
// cannot make it shorter: the bound takes all bytes to the end of the file, and of the rates that
// the header gives the lowest.
std::optional<Told> OfWav(std::string_view file) {
  Bytes in(file);
  constexpr std::uint64_t kPcm = 1;
  constexpr std::uint64_t kFloat = 3;
  constexpr std::uint64_t kALaw = 6;
  constexpr std::uint64_t kMuLaw = 7;
  constexpr std::uint64_t kExtensible = 0xFFFE;
  if (!(in.Is(0, "RIFF") || in.Is(0, "RF64")) || !in.Is(8, "WAVE")) return std::nullopt;
  std::uint64_t samples_per_second = 0;
  std::uint64_t bytes_per_second = 0;
  std::uint64_t bytes_per_second_min = 0;
  for (std::size_t at = 12; at + 8 <= file.size();) {
    const std::uint64_t size = in.Little(at + 4, 4);
    const std::size_t body = at + 8;
    if (in.Is(at, "fmt ")) {
      const std::uint64_t format = in.Little(body, 2);
      if (format != kPcm && format != kFloat && format != kALaw && format != kMuLaw &&
          format != kExtensible) {
        return std::nullopt;
      }
      const std::uint64_t channels = in.Little(body + 2, 2);
      samples_per_second = in.Little(body + 4, 4);
      const std::uint64_t said = in.Little(body + 8, 4);
      const std::uint64_t by_block = samples_per_second * in.Little(body + 12, 2);
      const std::uint64_t by_bits = samples_per_second * channels * in.Little(body + 14, 2) / 8;
      bytes_per_second = by_block;
      bytes_per_second_min = std::min({said, by_block, by_bits});
    } else if (in.Is(at, "data")) {
      if (bytes_per_second_min == 0 || !in.ok()) return std::nullopt;
      const std::uint64_t left = file.size() - body;
      const bool streamed = size == 0 || size >= 0xFFFF'FFFF;
      const std::uint64_t data = streamed ? left : std::min(size, left);
      return Told{Milliseconds(data, bytes_per_second), Milliseconds(left, bytes_per_second_min)};
    }
    if (size > file.size()) return std::nullopt;
    at = body + static_cast<std::size_t>(size) + (size & 1);
  }
  return std::nullopt;
}

// STREAMINFO, which is the first block (RFC 9639 section 8.2).
std::optional<Told> OfFlacInfo(Bytes in, std::size_t at, std::size_t file_bytes) {
  const std::uint64_t packed = in.Big(at + 10, 8);
  if (!in.ok()) return std::nullopt;
  const std::uint64_t rate = packed >> 44;
  const std::uint64_t channels = ((packed >> 41) & 7) + 1;
  const std::uint64_t bits = ((packed >> 36) & 31) + 1;
  const std::uint64_t samples = packed & 0xF'FFFF'FFFF;
  if (samples == 0 || rate == 0) return std::nullopt;
  // Lossless is never much larger than what it packs; pictures and tags may be.
  constexpr std::uint64_t kExtraBytes = 1 << 20;
  if (samples * channels * bits / 8 + kExtraBytes < file_bytes) return std::nullopt;
  return Told{Milliseconds(samples, rate), std::nullopt};
}

struct Mp3Frame {
  std::size_t bytes = 0;
  std::uint32_t samples = 0;
  std::uint32_t rate = 0;
  std::uint8_t kind = 0;  // version and layer: the same in all frames of a file
};

// ISO 11172-3 and 13818-3: the four bytes that begin a frame.
std::optional<Mp3Frame> ReadMp3Frame(std::string_view file, std::size_t at) {
  if (at + 4 > file.size()) return std::nullopt;
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(file[at + i]); };
  if (byte(0) != 0xFF || (byte(1) & 0xE0) != 0xE0) return std::nullopt;
  const unsigned version = (byte(1) >> 3) & 3U;  // 0: 2.5, 2: 2, 3: 1
  const unsigned layer = (byte(1) >> 1) & 3U;    // 3: I, 2: II, 1: III
  const unsigned rate_index = byte(2) >> 4;
  const unsigned frequency = (byte(2) >> 2) & 3U;
  const unsigned padding = (byte(2) >> 1) & 1U;
  if (version == 1 || layer == 0 || rate_index == 0 || rate_index == 15 || frequency == 3) {
    return std::nullopt;
  }
  static constexpr std::uint16_t kKilobits[5][14] = {
      {32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448},  // 1, layer I
      {32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384},     // 1, layer II
      {32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},      // 1, layer III
      {32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256},     // 2 and 2.5, layer I
      {8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}};         // 2 and 2.5, II and III
  static constexpr std::uint32_t kRates[3] = {44'100, 48'000, 32'000};
  const bool first = version == 3;
  const unsigned row = first ? 3 - layer : (layer == 3 ? 3 : 4);
  Mp3Frame frame;
  frame.kind = byte(1) & 0x1E;
  frame.rate = kRates[frequency] >> (version == 3 ? 0 : version == 2 ? 1 : 2);
  const std::uint32_t bits = kKilobits[row][rate_index - 1] * 1000U;
  frame.samples = layer == 3 ? 384 : (layer == 1 && !first ? 576 : 1152);
  frame.bytes = layer == 3 ? (12U * bits / frame.rate + padding) * 4U
                           : frame.samples / 8U * bits / frame.rate + padding;
  return frame;
}

// Frame by frame: one counts when another of its kind, or the end, stands where it ends. What lies
// between frames may be sound that we do not see.
std::optional<Told> OfMp3(std::string_view file) {
  Bytes in(file);
  std::size_t at = 0;
  if (in.Is(0, "ID3")) {  // four bytes of seven bits
    std::uint64_t size = 0;
    for (std::size_t i = 6; i < 10; ++i) size = size << 7 | (in.At(i) & 0x7FU);
    if (!in.ok() || size + 10 > file.size()) return std::nullopt;
    at = static_cast<std::size_t>(size) + 10;
  } else if (!ReadMp3Frame(file, 0)) {
    return std::nullopt;
  }
  std::uint64_t microseconds = 0;
  std::int64_t unseen = 0;
  std::int64_t frames = 0;
  while (at < file.size()) {
    const auto frame = ReadMp3Frame(file, at);
    const std::size_t end = frame ? at + frame->bytes : 0;
    const auto next = frame ? ReadMp3Frame(file, end) : std::nullopt;
    const bool last = frame && frames > 0 && end + 4 > file.size();
    const bool tag = frame && frames > 0 && in.Is(end, "TAG");
    if (frame &&
        (last || tag || (next && next->kind == frame->kind && next->rate == frame->rate))) {
      microseconds += std::uint64_t{frame->samples} * 1'000'000 / frame->rate + 1;
      ++frames;
      at = end;
      if (tag) break;
      continue;
    }
    ++unseen;
    ++at;
  }
  if (frames < 2) return std::nullopt;
  const std::int64_t ms = Milliseconds(microseconds, 1'000'000);
  return Told{ms, ms + unseen * kMsPerByteMax};
}

// Pages (RFC 3533). Each logical stream ends at its last granule position; streams that follow each
// other add up.
std::optional<Told> OfOgg(std::string_view file) {
  struct Stream {
    std::uint64_t serial = 0;
    std::uint64_t rate = 0;
    std::uint64_t skip = 0;
    std::uint64_t granule = 0;
  };
  std::array<Stream, 16> streams{};
  std::size_t count = 0;
  Bytes in(file);
  std::size_t at = 0;
  while (in.Is(at, "OggS")) {
    const std::uint64_t granule = in.Little(at + 6, 8);
    const std::uint64_t serial = in.Little(at + 14, 4);
    const std::size_t segments = in.At(at + 26);
    const bool begins = (in.At(at + 5) & 2) != 0;
    std::size_t body = at + 27 + segments;
    std::size_t size = 0;
    for (std::size_t i = 0; i < segments; ++i) size += in.At(at + 27 + i);
    if (!in.ok()) return std::nullopt;
    if (begins) {
      if (count == streams.size()) return std::nullopt;
      Stream& stream = streams[count++];
      stream.serial = serial;
      if (in.Is(body, "OpusHead")) {
        stream.rate = 48'000;
        stream.skip = in.Little(body + 10, 2);
      } else if (in.Is(body, "\x01vorbis")) {
        stream.rate = in.Little(body + 12, 4);
      } else if (in.Is(body, "Speex   ")) {
        stream.rate = in.Little(body + 36, 4);
      } else if (in.Is(body,
                       "\x7F"
                       "FLAC")) {
        stream.rate = in.Big(body + 27, 3) >> 4;
      }
    }
    // The newest stream of a number: a chain may use one again.
    for (std::size_t i = count; i-- > 0;) {
      if (streams[i].serial != serial) continue;
      if (granule < std::uint64_t{1} << 62) {
        streams[i].granule = std::max(streams[i].granule, granule);
      }
      break;
    }
    at = body + size;
  }
  if (count == 0 || at < file.size()) return std::nullopt;  // cut, or something else behind it
  Wide ms = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const Stream& stream = streams[i];
    if (stream.granule > stream.skip) ms += Milliseconds(stream.granule - stream.skip, stream.rate);
  }
  if (ms == 0) return std::nullopt;
  return Told{static_cast<std::int64_t>(std::min<Wide>(ms, kAudioMsMax)), std::nullopt};
}

// A version 0 or 1 box with a time scale and a duration behind its two dates (ISO 14496-12).
std::int64_t OfTimedBox(Bytes in, std::size_t at) {
  const bool wide = in.At(at) == 1;
  const std::size_t dates = at + 4;
  const std::uint64_t scale = in.Big(dates + (wide ? 16 : 8), 4);
  const std::uint64_t duration = in.Big(dates + (wide ? 20 : 12), wide ? 8 : 4);
  const bool unknown = duration == (wide ? UINT64_MAX : UINT32_MAX);
  return in.ok() && !unknown ? Milliseconds(duration, scale) : 0;
}

// Boxes: the longest of the movie's and its tracks' durations. A file of fragments says nothing up
// front.
std::optional<Told> OfMp4(std::string_view file) {
  Bytes in(file);
  if (!in.Is(4, "ftyp")) return std::nullopt;
  // Only containers of tracks are entered; the end of each is kept, so that nothing is recursive.
  std::array<std::size_t, 4> ends{file.size()};
  std::size_t depth = 0;
  std::int64_t ms = 0;
  std::size_t at = 0;
  while (true) {
    while (depth > 0 && at >= ends[depth]) --depth;
    if (at + 8 > ends[depth]) break;
    std::uint64_t size = in.Big(at, 4);
    std::size_t head = 8;
    if (size == 1) {
      size = in.Big(at + 8, 8);
      head = 16;
    } else if (size == 0) {
      size = ends[depth] - at;
    }
    if (!in.ok() || size < head || size > ends[depth] - at) return std::nullopt;
    const std::size_t end = at + static_cast<std::size_t>(size);
    if (in.Is(at + 4, "moof") || in.Is(at + 4, "mvex")) return std::nullopt;
    if (in.Is(at + 4, "mvhd") || in.Is(at + 4, "mdhd")) {
      ms = std::max(ms, OfTimedBox(in, at + head));
    }
    const bool enters = in.Is(at + 4, "moov") || in.Is(at + 4, "trak") || in.Is(at + 4, "mdia");
    if (enters && depth + 1 < ends.size()) {
      ends[++depth] = end;
      at += head;
    } else {
      at = end;
    }
  }
  if (ms == 0) return std::nullopt;
  return Told{ms, std::nullopt};
}

// A number of EBML (RFC 8794): the leading zeros tell its length. An element's name keeps its mark.
std::optional<std::uint64_t> TakeEbml(Bytes& in, std::size_t& at, bool keep_mark) {
  const std::uint8_t first = in.At(at);
  if (first == 0) return std::nullopt;
  std::size_t length = 1;
  while ((first & (0x80U >> (length - 1))) == 0) ++length;
  std::uint64_t value = in.Big(at, length);
  if (!keep_mark) value &= (std::uint64_t{1} << (7 * length)) - 1;
  at += length;
  if (!in.ok()) return std::nullopt;
  const bool unknown = !keep_mark && value == (std::uint64_t{1} << (7 * length)) - 1;
  return unknown ? UINT64_MAX : value;
}

// floor(x) of a positive IEEE 754 number of 4 or 8 bytes, without computing in floating point.
std::uint64_t FloorOfIeee(std::uint64_t bits, std::size_t bytes) {
  const int fraction_bits = bytes == 8 ? 52 : 23;
  const int bias = bytes == 8 ? 1023 : 127;
  const auto exponent = static_cast<int>((bits >> fraction_bits) & (bytes == 8 ? 0x7FFU : 0xFFU));
  const bool negative = (bits >> (bytes * 8 - 1)) != 0;
  const std::uint64_t one = std::uint64_t{1} << fraction_bits;
  const std::uint64_t mantissa = (bits & (one - 1)) | one;
  const int shift = exponent - bias - fraction_bits;
  if (negative || exponent < bias || shift > 0) return 0;  // below one, or beyond every file
  return mantissa >> -shift;
}

// Segment / Info / Duration, in units of TimestampScale nanoseconds. Browsers that record leave it
// out.
std::optional<Told> OfWebm(std::string_view file) {
  constexpr std::uint64_t kSegment = 0x18538067;
  constexpr std::uint64_t kInfo = 0x1549A966;
  constexpr std::uint64_t kCluster = 0x1F43B675;
  constexpr std::uint64_t kScale = 0x2AD7B1;
  constexpr std::uint64_t kDuration = 0x4489;
  Bytes in(file);
  if (!in.Is(0, "\x1A\x45\xDF\xA3")) return std::nullopt;
  std::uint64_t scale = 1'000'000;
  std::uint64_t duration = 0;
  std::size_t at = 0;
  while (at < file.size()) {
    const auto id = TakeEbml(in, at, true);
    const auto size = id ? TakeEbml(in, at, false) : std::nullopt;
    if (!size || *id == kCluster) break;
    if (*id == kSegment || *id == kInfo) continue;  // what is in them comes next
    if (*size > file.size() - at) break;
    if (*id == kScale && *size <= 8) scale = in.Big(at, static_cast<std::size_t>(*size));
    if (*id == kDuration && (*size == 4 || *size == 8)) {
      duration =
          FloorOfIeee(in.Big(at, static_cast<std::size_t>(*size)), static_cast<std::size_t>(*size));
    }
    at += static_cast<std::size_t>(*size);
  }
  const std::int64_t ms = Milliseconds(static_cast<Wide>(duration) * scale, 1'000'000'000);
  if (ms == 0) return std::nullopt;
  return Told{ms, std::nullopt};
}

std::optional<Told> Ask(std::string_view file) {
  if (const auto told = OfWav(file)) return told;
  if (file.starts_with("fLaC")) return OfFlacInfo(Bytes(file), 8, file.size());
  if (const auto told = OfOgg(file)) return told;
  if (const auto told = OfMp4(file)) return told;
  if (const auto told = OfWebm(file)) return told;
  return OfMp3(file);
}

std::int64_t WithSlack(std::int64_t ms) {
  return std::min((ms + 999) / 1000 * 1000 + 1000, kAudioMsMax);
}

}  // namespace

AudioLength LengthOfAudio(std::string_view file) {
  const auto bytes = static_cast<std::int64_t>(file.size());
  const std::int64_t least = bytes / kBytesPerMsMax;
  const auto told = Ask(file);
  if (told && told->ms_max) return {true, told->ms, WithSlack(std::max(told->ms, *told->ms_max))};
  if (told && told->ms >= least) return {true, told->ms, WithSlack(told->ms)};
  // A film says how long it is and has more bytes than sound alone: its word is not enough for the
  // hold, but better than a guess for the charge.
  const std::int64_t guess = told ? std::max(told->ms, least) : bytes / kTypicalBytesPerMs;
  return {false, guess, WithSlack(bytes * kMsPerByteMax)};
}

}  // namespace weir::dialect
