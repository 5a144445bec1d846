package queue

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	targetPrefix = "AmazonSQS."
	accountID    = "000000000000"
	contentType  = "application/x-amz-json-1.0"
)

// Handles says whether a request speaks the SQS protocol.
func Handles(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
}

// fault is an error as SQS answers it: the name of the JSON protocol, that of the older query protocol, which clients go on
// reporting as the code, and a message.
type fault struct{ code, query, message string }

func invalid(format string, args ...any) *fault {
	return &fault{"InvalidParameterValueException", "InvalidParameterValue", fmt.Sprintf(format, args...)}
}

// request has the fields of every operation that is known here.
type request struct {
	QueueName           string
	QueueURL            *string
	MessageBody         *string
	DelaySeconds        int
	MaxNumberOfMessages *int
	VisibilityTimeout   *int
	WaitTimeSeconds     int
	ReceiptHandle       string
	AttributeNames      []string
	Entries             []struct{ ID, ReceiptHandle string }
}

// ServeHTTP speaks the SQS JSON protocol: POST /, the operation in X-Amz-Target.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html
func (q *Queue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, refused := q.serve(r)
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Amzn-Requestid", uuid.NewString())
	if refused != nil {
		w.Header().Set("X-Amzn-Query-Error", refused.query+";Sender")
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]string{"__type": "com.amazonaws.sqs#" + refused.code, "message": refused.message}
	}
	_ = json.NewEncoder(w).Encode(answer) // the client is gone if this fails
}

func (q *Queue) serve(r *http.Request) (any, *fault) {
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		return nil, &fault{"MissingAuthenticationTokenException", "MissingAuthenticationToken", "Missing Authentication Token"}
	}
	var in request
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, 2*maxBodyBytes))
	if err != nil || json.Unmarshal(body, &in) != nil {
		return nil, &fault{"SerializationException", "MalformedInput", "The request body is not the JSON that this operation takes."}
	}
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	if operation == "GetQueueUrl" {
		return q.getQueueURL(r, in)
	}
	if refused := q.checkQueue(in.QueueURL); refused != nil {
		return nil, refused
	}
	switch operation {
	case "GetQueueAttributes":
		return q.getQueueAttributes(in), nil
	case "SendMessage":
		return q.sendMessage(in)
	case "ReceiveMessage":
		return q.receiveMessage(r, in)
	case "DeleteMessage":
		return struct{}{}, q.deleteMessage(in.ReceiptHandle)
	case "DeleteMessageBatch":
		return q.deleteMessageBatch(in)
	case "ChangeMessageVisibility":
		return struct{}{}, q.changeMessageVisibility(in)
	}
	return nil, &fault{"UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation", "This endpoint doesn't know the operation " + operation + "."}
}

func noQueue() *fault {
	return &fault{"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist."}
}

// checkQueue compares the last part of the URL only: through a container network the host differs.
func (q *Queue) checkQueue(url *string) *fault {
	if url == nil {
		return &fault{"MissingParameter", "MissingParameter", "The request must contain the parameter QueueUrl."}
	}
	if !strings.HasSuffix(*url, "/"+q.name) {
		return noQueue()
	}
	return nil
}

func (q *Queue) getQueueURL(r *http.Request, in request) (any, *fault) {
	if in.QueueName != q.name {
		return nil, noQueue()
	}
	return map[string]string{"QueueUrl": q.URL("http://" + r.Host)}, nil
}

// URL of the queue at an endpoint such as http://localhost:8025.
func (q *Queue) URL(endpoint string) string { return endpoint + "/" + accountID + "/" + q.name }

func (q *Queue) getQueueAttributes(in request) any {
	waiting, inFlight := q.Depth()
	all := map[string]string{
		"ApproximateNumberOfMessages":           strconv.Itoa(waiting),
		"ApproximateNumberOfMessagesNotVisible": strconv.Itoa(inFlight),
		"ApproximateNumberOfMessagesDelayed":    "0",
		"VisibilityTimeout":                     strconv.Itoa(int(q.visibility / time.Second)),
		"QueueArn":                              "arn:aws:sqs:local:" + accountID + ":" + q.name,
	}
	asked := make(map[string]string)
	for name, value := range all {
		if slices.Contains(in.AttributeNames, name) || slices.Contains(in.AttributeNames, "All") {
			asked[name] = value
		}
	}
	return map[string]any{"Attributes": asked}
}

func (q *Queue) sendMessage(in request) (any, *fault) {
	switch {
	case in.MessageBody == nil || *in.MessageBody == "":
		return nil, &fault{"MissingParameter", "MissingParameter", "The request must contain the parameter MessageBody."}
	case len(*in.MessageBody) > maxBodyBytes:
		return nil, invalid("One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", maxBodyBytes)
	case in.DelaySeconds < 0 || in.DelaySeconds > int(maxDelay/time.Second):
		return nil, outOfRange("DelaySeconds", in.DelaySeconds, 0, maxDelay)
	}
	id := q.send(&message{body: *in.MessageBody}, time.Duration(in.DelaySeconds)*time.Second)
	return map[string]string{"MessageId": id, "MD5OfMessageBody": sum(*in.MessageBody)}, nil
}

type received struct {
	MessageID     string `json:"MessageId"`
	ReceiptHandle string
	MD5OfBody     string
	Body          string
	Attributes    map[string]string
}

func (q *Queue) receiveMessage(r *http.Request, in request) (any, *fault) {
	limit, visibility, wait := 1, q.visibility, time.Duration(in.WaitTimeSeconds)*time.Second
	if in.MaxNumberOfMessages != nil {
		if limit = *in.MaxNumberOfMessages; limit < 1 || limit > maxBatch {
			return nil, invalid("Value %d for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.", limit)
		}
	}
	if in.VisibilityTimeout != nil {
		if visibility = time.Duration(*in.VisibilityTimeout) * time.Second; visibility < 0 || visibility > maxVisibility {
			return nil, outOfRange("VisibilityTimeout", *in.VisibilityTimeout, 0, maxVisibility)
		}
	}
	if wait < 0 || wait > maxWait {
		return nil, outOfRange("WaitTimeSeconds", in.WaitTimeSeconds, 0, maxWait)
	}
	answer := make(map[string][]received) // SQS leaves Messages out where there is none
	for _, m := range q.receive(r.Context(), limit, visibility, wait) {
		answer["Messages"] = append(answer["Messages"], received{
			MessageID: m.id, ReceiptHandle: m.handle, MD5OfBody: sum(m.body), Body: m.body,
			Attributes: map[string]string{
				"SentTimestamp":                    strconv.FormatInt(m.sentAt.UnixMilli(), 10),
				"ApproximateFirstReceiveTimestamp": strconv.FormatInt(m.firstReceived.UnixMilli(), 10),
				"ApproximateReceiveCount":          strconv.Itoa(m.receipts),
			},
		})
	}
	return answer, nil
}

// checkHandle looks at the form; whether the message is still there is another question.
func checkHandle(handle string) *fault {
	id, receipt, _ := strings.Cut(handle, ".")
	if uuid.Validate(id) != nil || uuid.Validate(receipt) != nil {
		return &fault{"ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", "The input receipt handle is invalid."}
	}
	return nil
}

func (q *Queue) deleteMessage(handle string) *fault {
	if refused := checkHandle(handle); refused != nil {
		return refused
	}
	q.remove(handle)
	return nil
}

func (q *Queue) deleteMessageBatch(in request) (any, *fault) {
	switch {
	case len(in.Entries) == 0:
		return nil, &fault{"EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest", "There should be at least one DeleteMessageBatchRequestEntry in the request."}
	case len(in.Entries) > maxBatch:
		return nil, &fault{"TooManyEntriesInBatchRequest", "AWS.SimpleQueueService.TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10."}
	}
	seen := make(map[string]bool)
	for _, entry := range in.Entries {
		if seen[entry.ID] {
			return nil, &fault{"BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "Id " + entry.ID + " repeated."}
		}
		seen[entry.ID] = true
	}
	successful, failed := []map[string]string{}, []map[string]any{}
	for _, entry := range in.Entries {
		if refused := q.deleteMessage(entry.ReceiptHandle); refused != nil {
			failed = append(failed, map[string]any{"Id": entry.ID, "SenderFault": true, "Code": refused.query, "Message": refused.message})
			continue
		}
		successful = append(successful, map[string]string{"Id": entry.ID})
	}
	return map[string]any{"Successful": successful, "Failed": failed}, nil
}

func (q *Queue) changeMessageVisibility(in request) *fault {
	if in.VisibilityTimeout == nil {
		return &fault{"MissingParameter", "MissingParameter", "The request must contain the parameter VisibilityTimeout."}
	}
	visibility := time.Duration(*in.VisibilityTimeout) * time.Second
	if visibility < 0 || visibility > maxVisibility {
		return outOfRange("VisibilityTimeout", *in.VisibilityTimeout, 0, maxVisibility)
	}
	if refused := checkHandle(in.ReceiptHandle); refused != nil {
		return refused
	}
	if !q.hide(in.ReceiptHandle, visibility) {
		return &fault{"MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", "The message referred to isn't in flight."}
	}
	return nil
}

func outOfRange(name string, value int, low time.Duration, high time.Duration) *fault {
	return invalid("Value %d for parameter %s is invalid. Reason: Must be between %d and %d, if provided.",
		value, name, low/time.Second, high/time.Second)
}

// sum is what the client compares with; MD5 is part of the protocol.
func sum(body string) string {
	digest := md5.Sum([]byte(body))
	return hex.EncodeToString(digest[:])
}
