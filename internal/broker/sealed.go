package broker

import (
	"errand.internal/internal/record"
	"errand.internal/internal/seal"
)

// aad binds a sealed value to its task, so that it cannot be moved to another.
func aad(taskType, id string) string {
	return taskType + "#" + id
}

func auditAAD(taskType string) string {
	return taskType + "#trail"
}

// OpenSubject opens the subject of an entry of the audit log.
func OpenSubject(ring *seal.Ring, e record.AuditEntry) (string, error) {
	plain, err := ring.Open(seal.Payload, auditAAD(e.Type), e.Subject)
	return string(plain), err
}

// OpenResult opens the result in a record. It returns nil if there is none.
func OpenResult(ring *seal.Ring, r *record.Record) ([]byte, error) {
	if len(r.Data) == 0 {
		return nil, nil
	}
	return ring.Open(seal.Result, aad(r.Type, r.ID), r.Data)
}

// SealResult seals a result for a task's record.
func SealResult(ring *seal.Ring, taskType, id string, result []byte) []byte {
	return ring.Seal(seal.Result, aad(taskType, id), result)
}

// OpenPayload opens the payload of a claimed task. A plain asynq client's is not
// sealed; a strict ring refuses it.
func OpenPayload(ring *seal.Ring, c *Claim) ([]byte, error) {
	if !c.sealed() {
		return ring.OpenPlain(c.Payload)
	}
	return ring.Open(seal.Payload, aad(c.Type, c.ID), c.Payload)
}
