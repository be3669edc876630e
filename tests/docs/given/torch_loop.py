"""A model in PyTorch with its optimizer, loss and data."""

import torch

model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loss = torch.nn.CrossEntropyLoss()
batches = loader = torch.utils.data.DataLoader([(torch.zeros(4), 1)] * 16, 8)
