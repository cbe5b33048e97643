#include "store/journal_chain.h"

#include <openssl/evp.h>

#include <algorithm>

#include "base/check.h"

namespace weir::store {

void Chainer::DigestFree::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }
void Chainer::MethodFree::operator()(evp_md_st* method) const { EVP_MD_free(method); }

Chainer::Chainer() : method_(EVP_MD_fetch(nullptr, "SHA256", nullptr)), context_(EVP_MD_CTX_new()) {
  CHECK(method_ != nullptr && context_ != nullptr, "SHA-256 needs no memory to speak of");
}

Chainer::~Chainer() = default;

Chain Chainer::Next(const Chain& before, const JournalBatch& batch) {
  std::array<std::uint8_t, 12> numbers{};
  for (std::size_t i = 0; i < 8; ++i) {
    numbers[i] = static_cast<std::uint8_t>(batch.first_position >> (8 * i));
  }
  for (std::size_t i = 0; i < 4; ++i) {
    numbers[8 + i] = static_cast<std::uint8_t>(batch.count >> (8 * i));
  }
  Chain chain{};
  const bool done =
      EVP_DigestInit_ex(context_.get(), method_.get(), nullptr) == 1 &&
      EVP_DigestUpdate(context_.get(), before.data(), before.size()) == 1 &&
      EVP_DigestUpdate(context_.get(), numbers.data(), numbers.size()) == 1 &&
      EVP_DigestUpdate(context_.get(), batch.records.data(), batch.records.size()) == 1 &&
      EVP_DigestFinal_ex(context_.get(), chain.data(), nullptr) == 1;
  CHECK(done, "SHA-256 does not fail");
  return chain;
}

std::unexpected<Error> ChainReader::Altered(const std::string& what) const {
  return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment,
              what + "; the last good position is " + std::to_string(tail_.position) +
                  ". Restore the journal from a backup");
}

Result<void> ChainReader::Take(const JournalBatch& batch, std::span<const std::uint8_t> stored,
                               const JournalReader::Visit& visit) {
  const auto altered = [&](const std::string& what) {
    return Altered("journal row " + std::to_string(batch.first_position) + ": " + what);
  };
  const std::uint64_t expected = tail_.position + 1;
  if (batch.first_position != expected) {
    return altered("records from " + std::to_string(expected) + " are missing");
  }
  const Chain chain = chainer_.Next(tail_.chain, batch);
  if (!std::ranges::equal(stored, chain)) {
    return altered("its chain does not fit, so it or a row before it was changed");
  }
  if (auto problem = visit(batch)) return altered(*problem);
  tail_ = {.position = tail_.position + batch.count, .batches = tail_.batches + 1, .chain = chain};
  if (see_ != nullptr && *see_) (*see_)(tail_.position, chain);
  return {};
}

}  // namespace weir::store
