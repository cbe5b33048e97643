// The handlers, by resource: keys.cc, accounts.cc, requests.cc, ledger.cc, wallets.cc,
// codes.cc, quotas.cc, evaluate.cc, webhooks.cc, operators.cc, policies.cc, approvals.cc, trail.cc,
// catalog.cc (models,
// upstreams, pools, packages and workspaces), effective_config.cc, status.cc. Private to this
// folder; admin/routes names them.
#pragma once

#include "admin/call.h"

namespace weir::admin {

AdminResponse CreateKey(const Call& call);
AdminResponse ListKeys(const Call& call);
AdminResponse GetKey(const Call& call);
AdminResponse PatchKey(const Call& call);
AdminResponse RotateKey(const Call& call);
AdminResponse RevokeKey(const Call& call);

AdminResponse CreateAccount(const Call& call);
AdminResponse ListAccounts(const Call& call);
AdminResponse GetAccount(const Call& call);
AdminResponse PatchAccount(const Call& call);
AdminResponse DeleteAccount(const Call& call);
AdminResponse CoolAccount(const Call& call);
AdminResponse ClearAccount(const Call& call);
AdminResponse DrainAccount(const Call& call);
AdminResponse UndrainAccount(const Call& call);
AdminResponse GetAccountAudit(const Call& call);

AdminResponse ListRequests(const Call& call);
AdminResponse GetRequest(const Call& call);
AdminResponse GetReceipt(const Call& call);
AdminResponse GetReceiptKey(const Call& call);

AdminResponse GetKeyLedger(const Call& call);
AdminResponse GetLedgerAnchor(const Call& call);
AdminResponse GetLedgerJournal(const Call& call);

AdminResponse ListWallets(const Call& call);
AdminResponse GetWallet(const Call& call);
AdminResponse CreateGrant(const Call& call);
AdminResponse RevokeGrant(const Call& call);
AdminResponse GetWalletAudit(const Call& call);

AdminResponse ListQuotas(const Call& call);
AdminResponse ListPolicyCounters(const Call& call);
AdminResponse EvaluatePolicies(const Call& call);

AdminResponse CreateCodes(const Call& call);
AdminResponse ListCodes(const Call& call);
AdminResponse RevokeCodes(const Call& call);

AdminResponse ListWebhooks(const Call& call);
AdminResponse ListDeliveries(const Call& call);
AdminResponse TestWebhook(const Call& call);
AdminResponse RetryDelivery(const Call& call);
AdminResponse EnableWebhook(const Call& call);

AdminResponse CreateOperator(const Call& call);
AdminResponse ListOperators(const Call& call);
AdminResponse PatchOperator(const Call& call);
AdminResponse DeleteOperator(const Call& call);

AdminResponse ListPolicies(const Call& call);
AdminResponse ValidatePolicies(const Call& call);
AdminResponse GetPolicy(const Call& call);
AdminResponse PutPolicy(const Call& call);
AdminResponse DeletePolicy(const Call& call);
AdminResponse ListPolicyVersions(const Call& call);

AdminResponse CreateApproval(const Call& call);
AdminResponse ListApprovals(const Call& call);
AdminResponse GetApproval(const Call& call);
AdminResponse ApproveApproval(const Call& call);
AdminResponse DenyApproval(const Call& call);
AdminResponse EndApproval(const Call& call);
AdminResponse ReviewApproval(const Call& call);

AdminResponse GetPolicyAudit(const Call& call);

AdminResponse ListModels(const Call& call);
AdminResponse ListUpstreams(const Call& call);
AdminResponse ListPools(const Call& call);
AdminResponse ListPackages(const Call& call);
AdminResponse ListWorkspaces(const Call& call);

AdminResponse GetConfig(const Call& call);
// Equal configurations have equal hashes; secrets count only as set or not set.
std::string ConfigHash(const config::Config& config);
AdminResponse GetStatus(const Call& call);
AdminResponse GetAudit(const Call& call);

// For probes and scrapers: no token. On this listener only, because figures are the operator's.
AdminResponse GetLive(const Call& call);
AdminResponse GetReady(const Call& call);
AdminResponse GetMetrics(const Call& call);

// The page at /: where the API is and how the node does. Anyone who can reach the listener sees it.
AdminResponse StatusPage(const Call& call);

}  // namespace weir::admin
