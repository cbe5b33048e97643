#include "admin/routes.h"

#include <algorithm>
#include <array>

#include "admin/handlers.h"

namespace weir::admin {

namespace {

constexpr std::array kRoutes = {
    Route{"POST", "/admin/v1/keys", CreateKey},
    Route{"GET", "/admin/v1/keys", ListKeys, Access::kViewer},
    Route{"GET", "/admin/v1/keys/{id}", GetKey, Access::kViewer},
    Route{"PATCH", "/admin/v1/keys/{id}", PatchKey},
    Route{"DELETE", "/admin/v1/keys/{id}", RevokeKey},
    Route{"POST", "/admin/v1/keys/{id}/rotate", RotateKey},
    Route{"POST", "/admin/v1/accounts", CreateAccount},
    Route{"GET", "/admin/v1/accounts", ListAccounts, Access::kViewer},
    Route{"GET", "/admin/v1/accounts/{id}", GetAccount, Access::kViewer},
    Route{"PATCH", "/admin/v1/accounts/{id}", PatchAccount},
    Route{"DELETE", "/admin/v1/accounts/{id}", DeleteAccount},
    Route{"POST", "/admin/v1/accounts/{id}/cool", CoolAccount},
    Route{"POST", "/admin/v1/accounts/{id}/clear", ClearAccount},
    Route{"POST", "/admin/v1/accounts/{id}/drain", DrainAccount},
    Route{"POST", "/admin/v1/accounts/{id}/undrain", UndrainAccount},
    Route{"GET", "/admin/v1/requests", ListRequests, Access::kViewer},
    Route{"GET", "/admin/v1/requests/{id}", GetRequest, Access::kViewer},
    Route{"GET", "/admin/v1/requests/{id}/receipt", GetReceipt, Access::kViewer},
    Route{"GET", "/admin/v1/receipt-key", GetReceiptKey, Access::kViewer},
    Route{"GET", "/admin/v1/ledger/keys/{id}", GetKeyLedger, Access::kViewer},
    Route{"GET", "/admin/v1/ledger/anchor", GetLedgerAnchor, Access::kViewer},
    Route{"GET", "/admin/v1/ledger/journal", GetLedgerJournal, Access::kViewer},
    Route{"GET", "/admin/v1/wallets", ListWallets, Access::kViewer},
    Route{"GET", "/admin/v1/wallets/{id}", GetWallet, Access::kViewer},
    Route{"POST", "/admin/v1/wallets/{id}/grants", CreateGrant},
    Route{"DELETE", "/admin/v1/grants/{id}", RevokeGrant},
    Route{"POST", "/admin/v1/codes", CreateCodes},
    Route{"GET", "/admin/v1/codes", ListCodes, Access::kViewer},
    Route{"DELETE", "/admin/v1/codes/{id}", RevokeCodes},
    Route{"POST", "/admin/v1/operators", CreateOperator},
    Route{"GET", "/admin/v1/operators", ListOperators, Access::kViewer},
    Route{"PATCH", "/admin/v1/operators/{id}", PatchOperator},
    Route{"DELETE", "/admin/v1/operators/{id}", DeleteOperator},
    Route{"GET", "/admin/v1/policies", ListPolicies, Access::kViewer},
    Route{"POST", "/admin/v1/policies/validate", ValidatePolicies, Access::kViewer},
    Route{"GET", "/admin/v1/policies/{id}", GetPolicy, Access::kViewer},
    Route{"PUT", "/admin/v1/policies/{id}", PutPolicy},
    Route{"DELETE", "/admin/v1/policies/{id}", DeletePolicy},
    Route{"GET", "/admin/v1/policies/{id}/versions", ListPolicyVersions, Access::kViewer},
    Route{"POST", "/admin/v1/approvals", CreateApproval, Access::kApprover},
    Route{"GET", "/admin/v1/approvals", ListApprovals, Access::kViewer},
    Route{"GET", "/admin/v1/approvals/{id}", GetApproval, Access::kViewer},
    Route{"POST", "/admin/v1/approvals/{id}/approve", ApproveApproval, Access::kApprover},
    Route{"POST", "/admin/v1/approvals/{id}/deny", DenyApproval, Access::kApprover},
    Route{"POST", "/admin/v1/approvals/{id}/end", EndApproval, Access::kApprover},
    Route{"POST", "/admin/v1/approvals/{id}/review", ReviewApproval, Access::kApprover},
    Route{"GET", "/admin/v1/webhooks", ListWebhooks, Access::kViewer},
    Route{"GET", "/admin/v1/webhooks/deliveries", ListDeliveries, Access::kViewer},
    Route{"POST", "/admin/v1/webhooks/deliveries/{id}/retry", RetryDelivery},
    Route{"POST", "/admin/v1/webhooks/{id}/test", TestWebhook},
    Route{"POST", "/admin/v1/webhooks/{id}/enable", EnableWebhook},
    Route{"POST", "/admin/v1/policies/evaluate", EvaluatePolicies, Access::kViewer},
    Route{"GET", "/admin/v1/policies/{id}/counters", ListPolicyCounters, Access::kViewer},
    Route{"GET", "/admin/v1/quotas", ListQuotas, Access::kViewer},
    Route{"GET", "/admin/v1/models", ListModels, Access::kViewer},
    Route{"GET", "/admin/v1/upstreams", ListUpstreams, Access::kViewer},
    Route{"GET", "/admin/v1/pools", ListPools, Access::kViewer},
    Route{"GET", "/admin/v1/packages", ListPackages, Access::kViewer},
    Route{"GET", "/admin/v1/workspaces", ListWorkspaces, Access::kViewer},
    Route{"GET", "/admin/v1/config", GetConfig, Access::kViewer},
    Route{"GET", "/admin/v1/audit", GetAudit, Access::kViewer},
    Route{"GET", "/admin/v1/audit/accounts", GetAccountAudit, Access::kViewer},
    Route{"GET", "/admin/v1/audit/wallets", GetWalletAudit, Access::kViewer},
    Route{"GET", "/admin/v1/audit/policies", GetPolicyAudit, Access::kViewer},
    Route{"GET", "/admin/v1/status", GetStatus, Access::kViewer},
    Route{"GET", "/", StatusPage, Access::kOpen},
    Route{"GET", "/livez", GetLive, Access::kOpen},
    Route{"GET", "/readyz", GetReady, Access::kOpen},
    Route{"GET", "/metrics", GetMetrics, Access::kOpen},
};

constexpr std::string_view kId = "{id}";

}  // namespace

std::span<const Route> Routes() { return kRoutes; }

Match MatchPath(std::string_view pattern, std::string_view path) {
  const std::size_t at = pattern.find(kId);
  if (at == std::string_view::npos) return {pattern == path, {}};
  const std::string_view tail = pattern.substr(at + kId.size());
  if (!path.starts_with(pattern.substr(0, at))) return {};
  path.remove_prefix(at);
  const std::size_t end = std::min(path.find('/'), path.size());
  if (end == 0 || path.substr(end) != tail) return {};
  return {true, path.substr(0, end)};
}

}  // namespace weir::admin
