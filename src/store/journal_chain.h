// The chain of a journal: each batch comes to SHA-256 over what the batch before it came to, its
// first position, its count and its records. Whoever has a batch and its chain from somewhere, a
// file or a running gateway, checks them here; the sentences say what does not fit.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "store/journal.h"

struct evp_md_ctx_st;
struct evp_md_st;

namespace weir::store {

using Chain = std::array<std::uint8_t, 32>;  // zeros before the first batch

// Computes one chain after another. Keeps its context and its method: to make the one and to look
// the other up by name each time costs more than to hash a row of a few records.
class Chainer {
 public:
  Chainer();
  ~Chainer();
  Chainer(const Chainer&) = delete;
  Chainer& operator=(const Chainer&) = delete;
  Chain Next(const Chain& before, const JournalBatch& batch);

 private:
  struct DigestFree {
    void operator()(evp_md_ctx_st* context) const;
  };
  struct MethodFree {
    void operator()(evp_md_st* method) const;
  };
  std::unique_ptr<evp_md_st, MethodFree> method_;
  std::unique_ptr<evp_md_ctx_st, DigestFree> context_;
};

// Follows a journal from its first batch on.
class ChainReader {
 public:
  explicit ChainReader(const JournalReader::SeeChain* see = nullptr) : see_(see) {}

  // Checks that a batch is the next one and comes to the chain that was stored with it, and shows
  // it to `visit`, and its chain to whoever was given to the constructor.
  //   fails  kBadInput: what does not fit, the last good position, and what to do
  Result<void> Take(const JournalBatch& batch, std::span<const std::uint8_t> stored,
                    const JournalReader::Visit& visit);
  // The same failure for what the caller finds behind the batches that were taken.
  std::unexpected<Error> Altered(const std::string& what) const;

  // Of the batches taken.
  JournalTail tail() const { return tail_; }

 private:
  const JournalReader::SeeChain* see_;
  Chainer chainer_;
  JournalTail tail_;
};

}  // namespace weir::store
